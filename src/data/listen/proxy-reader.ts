/** Waits for the PROXY header of one accepted socket, within a bound and a deadline, before anyone else reads. */

import type { Socket } from "node:net";
import { type Deadlined, type Deadlines, NEVER } from "../deadlines.ts";
import { MAX_PROXY_HEADER_BYTES, parseProxyHeader, type ProxyAnnouncement } from "./proxy-protocol.ts";

export interface ProxyHeaderHost {
  /** `rest`: what came behind the header, not yet looked at. */
  onProxyHeader(reader: ProxyReader, socket: Socket, announcement: ProxyAnnouncement, rest: Buffer): void;
  /** Malformed, late or missing; the socket is destroyed. */
  onProxyFailed(reader: ProxyReader): void;
}

/** While draining: how long a balancer still has for a header, which it sends as soon as it is connected. */
const DRAIN_MS = 1000;

export class ProxyReader implements Deadlined {
  deadline: number;
  readonly #socket: Socket;
  readonly #deadlines: Deadlines;
  readonly #host: ProxyHeaderHost;
  #bytes: Buffer = Buffer.alloc(0);

  constructor(socket: Socket, deadlines: Deadlines, timeoutMs: number, host: ProxyHeaderHost) {
    this.#socket = socket;
    this.#deadlines = deadlines;
    this.#host = host;
    this.deadline = deadlines.now() + timeoutMs;
    deadlines.add(this);
    socket.on("data", this.#onData);
    socket.on("end", this.#onGone);
    socket.on("close", this.#onGone);
    socket.on("error", this.#onGone);
  }

  onDeadline(): void {
    this.#fail();
  }

  /** The listener wants to end. */
  drain(): void {
    this.deadline = Math.min(this.deadline, this.#deadlines.now() + DRAIN_MS);
  }

  /** Ends it without a word to anybody. */
  destroy(): void {
    this.#detach();
    // A late error of a socket that is being destroyed must not end the process.
    this.#socket.on("error", () => undefined);
    this.#socket.destroy();
  }

  readonly #onData = (chunk: Buffer): void => {
    this.#bytes = this.#bytes.length === 0 ? chunk : Buffer.concat([this.#bytes, chunk]);
    const result = parseProxyHeader(this.#bytes);
    if (result === "malformed" || (result === "need-more" && this.#bytes.length > MAX_PROXY_HEADER_BYTES)) {
      this.#fail();
    } else if (result !== "need-more") {
      this.#detach();
      this.#host.onProxyHeader(this, this.#socket, result, this.#bytes.subarray(result.end));
    }
  };

  readonly #onGone = (): void => this.#fail();

  #fail(): void {
    if (this.deadline === NEVER) return;
    this.destroy();
    this.#host.onProxyFailed(this);
  }

  #detach(): void {
    this.deadline = NEVER;
    this.#deadlines.delete(this);
    this.#socket.off("data", this.#onData);
    this.#socket.off("end", this.#onGone);
    this.#socket.off("close", this.#onGone);
    this.#socket.off("error", this.#onGone);
  }
}
