/**
 * Two sockets joined: bytes pass both ways with back-pressure, and a half-close is passed on.
 *
 * Promises: a chunk is written before the next is read where the other side is slow; `onEnd` is called once, when both
 * sockets are closed; when one side breaks, the other gets what was read of it, and then its end, which over TLS does not
 * look like a regular one; what is cut off with bytes unsent does not look so anywhere.
 *
 * Bytes are read into the buffer that all sockets of the thread share, and leave as text while they are few: an allocation
 * of 64 KiB for each read, as Node makes it, cost more than all else that is done here.
 */

import type { Socket } from "node:net";
import { SocketWriter } from "../http1/socket-writer.ts";
import { type ByteReader, readFirst } from "../listen/shared-read.ts";
import { breakOff, cutOff } from "../listen/socket-ends.ts";

export interface RelayHost {
  /** So many bytes came from that side. */
  onBytes(from: RelaySide, length: number): void;
  /** A socket failed; the first of the two counts as the cause. */
  onBroken(side: RelaySide): void;
  onEnd(): void;
}

export type RelaySide = "client" | "node";

/** What Node writes from its stack, and copies by itself when the kernel does not take it whole. */
const MAX_TEXT_BYTES = 16_384;

export class Relay {
  readonly #host: RelayHost;
  readonly #toNode: Way;
  readonly #toClient: Way;
  #open = 2;
  #isBroken = false;

  /** Both stand. Whoever has listeners on them takes them off before. */
  constructor(client: Socket, node: Socket, host: RelayHost) {
    this.#host = host;
    this.#toNode = new Way("client", client, node, host);
    this.#toClient = new Way("node", node, client, host);
  }

  start(): void {
    this.#join(this.#toNode);
    this.#join(this.#toClient);
  }

  /** Closes both at once. */
  cut(): void {
    this.#toNode.cut();
    this.#toClient.cut();
  }

  #join(way: Way): void {
    const { side, from, to } = way;
    from.on("end", () => to.end());
    // It ended before anyone listened: a client may, right behind its first bytes.
    if (from.readableEnded) to.end();
    from.on("error", () => {
      this.#isBroken = true;
      this.#host.onBroken(side);
    });
    from.on("close", () => {
      if (this.#isBroken) breakOff(to);
      else to.destroySoon();
      if (--this.#open === 0) this.#host.onEnd();
    });
    if (from.destroyed) to.destroy();
    readFirst(from, way);
    from.resume();
  }
}

/** One of the two directions. */
class Way implements ByteReader {
  readonly side: RelaySide;
  readonly from: Socket;
  readonly to: Socket;
  readonly #host: RelayHost;
  readonly #writer: SocketWriter;

  constructor(side: RelaySide, from: Socket, to: Socket, host: RelayHost) {
    this.side = side;
    this.from = from;
    this.to = to;
    this.#host = host;
    this.#writer = new SocketWriter(to, () => from.resume());
  }

  onBytes(buffer: Buffer, length: number): boolean {
    this.#host.onBytes(this.side, length);
    const writer = this.#writer;
    return length <= MAX_TEXT_BYTES
      ? writer.text(buffer.toString("latin1", 0, length))
      : writer.chunk(Buffer.from(buffer.subarray(0, length)));
  }

  cut(): void {
    cutOff(this.to, this.#writer.unsentBytes);
  }
}
