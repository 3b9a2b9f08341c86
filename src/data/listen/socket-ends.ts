/** How sockets that carry bytes of others are closed when something went wrong: never so that half looks like the whole. */

import type { Socket } from "node:net";
import { TLSSocket } from "node:tls";

const NOTHING = Buffer.alloc(0);

/** Closes a socket at once. What it was to send is lost, and its peer must not take the rest for the whole. */
export function cutOff(socket: Socket, unsentBytes: number = socket.writableLength): void {
  if (unsentBytes > 0 && !(socket instanceof TLSSocket)) socket.resetAndDestroy();
  else socket.destroy();
}

/** After what was written. A reset could overtake that; TLS says by a missing close_notify (RFC 8446 6.1) that more was to come. */
export function breakOff(socket: Socket): void {
  if (!(socket instanceof TLSSocket) || !socket.writable) socket.destroySoon();
  else socket.write(NOTHING, () => socket.destroy());
}
