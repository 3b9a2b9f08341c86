/**
 * What still waits in a socket, below its stream. A session of `node:http2` writes what it has in one piece of megabytes, of
 * which the socket's own counters tell nothing until all of it is gone. 0 where this Node.js does not say.
 */

import type { Socket } from "node:net";

interface Inside {
  _handle: { writeQueueSize?: number; _parent?: { writeQueueSize?: number } | null } | null;
}

export function queuedBytes(socket: Socket): number {
  const handle = (socket as unknown as Inside)._handle;
  // With TLS the queue is that of the socket below.
  return handle?._parent?.writeQueueSize ?? handle?.writeQueueSize ?? 0;
}
