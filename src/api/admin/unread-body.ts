/**
 * Throws away what a refused request goes on to send. A connection that is closed with bytes unread is reset, and the
 * reset takes the answer away from a client that has not read it yet.
 */

import type { IncomingMessage } from "node:http";

/** Who sends more, or for longer, may lose the answer. */
const MOST_BYTES = 16 * 1024 ** 2;
const LONGEST_MS = 5000;

/** Resolves at the end of the body, of the connection, or of the patience. */
export function discardBody(request: IncomingMessage): Promise<void> {
  return new Promise((resolve) => {
    let left = MOST_BYTES;
    const timer = setTimeout(resolve, LONGEST_MS);
    const end = (): void => {
      clearTimeout(timer);
      resolve();
    };
    request.on("data", (chunk: Buffer) => {
      left -= chunk.length;
      if (left < 0) end();
    });
    request.once("end", end).once("close", end).resume();
  });
}
