/**
 * Two sockets joined after a 101: bytes pass both ways with back-pressure, a half-close is passed on, silence
 * in both directions ends it. The one place of the data path that does not know what it carries.
 */

import type { Socket } from "node:net";

export interface TunnelEnd {
  socket: Socket;
  /** What was read beyond the head, still to be passed on. */
  rest: Buffer;
}

/** Joins the two; `onClose` is called once, when both are closed. */
export function tunnel(
  client: TunnelEnd,
  upstream: TunnelEnd,
  idleTimeoutMs: number,
  onClose: () => void,
): void {
  let open = 2;
  const closed = (): void => {
    if (--open === 0) onClose();
  };
  join(client, upstream.socket, idleTimeoutMs, closed);
  join(upstream, client.socket, idleTimeoutMs, closed);
}

function join(from: TunnelEnd, to: Socket, idleTimeoutMs: number, onClose: () => void): void {
  const source = from.socket;
  source.setTimeout(idleTimeoutMs);
  if (from.rest.length > 0) to.write(from.rest);
  source.on("data", (chunk: Buffer) => {
    if (!to.write(chunk)) source.pause();
  });
  to.on("drain", () => source.resume());
  source.on("end", () => to.end());
  // It ended before anyone listened: a client may, right behind its request.
  if (source.readableEnded) to.end();
  // Writing counts as life of the other side: the timeout of a socket covers both directions.
  source.on("timeout", () => {
    source.destroy();
    to.destroy();
  });
  source.on("error", () => source.destroy());
  source.on("close", () => {
    to.destroySoon();
    onClose();
  });
  source.resume();
}
