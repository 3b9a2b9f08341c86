/**
 * Whether anybody listens on a port, a `reusePort` listener too, told without listening there oneself: a client that
 * connects meanwhile would be reset, and whoever polls the port would take the node for started.
 *
 * A socket is bound to the port without `reusePort`, which the system refuses while somebody listens there, and then
 * connected to a port of this machine where nobody is, since Node.js tells what became of a bind only then.
 */

import { connect } from "node:net";

/** tcpmux; nobody has used it for decades. Should somebody answer, that connection is dropped at once. */
const DEAD_PORT = 1;
/** A firewall may swallow the attempt: the bind has succeeded by then. */
const ANSWER_MS = 500;

/**
 * `address` is an IP address other than "::", whose bind would meet listeners on IPv4, too. What else keeps a bind from
 * succeeding is left to the real one.
 */
export async function isListenedOn(address: string, port: number): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const socket = connect({
    host: targetOf(address),
    port: DEAD_PORT,
    localAddress: address,
    localPort: port,
  });
  const timer = setTimeout(() => resolve(false), ANSWER_MS);
  socket.once("connect", () => resolve(false));
  socket.once("error", (error: NodeJS.ErrnoException) => resolve(error.code === "EADDRINUSE"));
  const isTaken = await promise;
  clearTimeout(timer);
  // Not `destroy`: an ordinary close would leave the port in TIME_WAIT.
  socket.resetAndDestroy();
  return isTaken;
}

/** An address of this machine that can be reached from there. */
function targetOf(address: string): string {
  return address === "0.0.0.0" ? "127.0.0.1" : address;
}
