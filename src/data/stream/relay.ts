/**
 * Two sockets joined: bytes pass both ways with back-pressure, and a half-close is passed on.
 *
 * Promises: a chunk is written before the next is read where the other side is slow; `onEnd` is called once, when both
 * sockets are closed; when one side breaks, the other gets what was read of it, and then its end, which over TLS does not
 * look like a regular one; what is cut off with bytes unsent does not look so anywhere.
 */

import type { Socket } from "node:net";
import { breakOff } from "../listen/socket-ends.ts";

export interface RelayHost {
  /** So many bytes came from that side. */
  onBytes(from: RelaySide, length: number): void;
  /** A socket failed; the first of the two counts as the cause. */
  onBroken(side: RelaySide): void;
  onEnd(): void;
}

export type RelaySide = "client" | "node";

export class Relay {
  readonly #host: RelayHost;
  readonly #client: Socket;
  readonly #node: Socket;
  #open = 2;
  #isBroken = false;

  /** Both stand. Whoever has listeners on them takes them off before. */
  constructor(client: Socket, node: Socket, host: RelayHost) {
    this.#client = client;
    this.#node = node;
    this.#host = host;
  }

  start(): void {
    this.#join("client", this.#client, this.#node);
    this.#join("node", this.#node, this.#client);
  }

  #join(side: RelaySide, from: Socket, to: Socket): void {
    const host = this.#host;
    from.on("data", (chunk: Buffer) => {
      host.onBytes(side, chunk.length);
      if (!to.write(chunk)) from.pause();
    });
    to.on("drain", () => from.resume());
    from.on("end", () => to.end());
    // It ended before anyone listened: a client may, right behind its first bytes.
    if (from.readableEnded) to.end();
    from.on("error", () => {
      this.#isBroken = true;
      host.onBroken(side);
    });
    from.on("close", () => {
      if (this.#isBroken) breakOff(to);
      else to.destroySoon();
      if (--this.#open === 0) host.onEnd();
    });
    if (from.destroyed) to.destroy();
    from.resume();
  }
}
