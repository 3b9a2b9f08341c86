/** Parts of upstream tests: an origin whose bytes the test controls, and a handler that records what it hears. */

import { once } from "node:events";
import { createServer, type AddressInfo, type Server, type Socket } from "node:net";
import { HeaderList } from "../../lib/headers.ts";
import type { ResponseHead, UpstreamFailure, UpstreamHandler } from "../transport.ts";
import { freePort } from "../../../test/ports/free-port.ts";

/** What one connection of the origin received, as text, and its socket to answer on. */
export interface OriginConnection {
  socket: Socket;
  received: string;
}

export class Origin {
  readonly connections: OriginConnection[] = [];
  port = 0;
  readonly #server: Server;
  #received: (() => void)[] = [];

  /** `onData` is called after each read of a connection. */
  constructor(onData: (connection: OriginConnection) => void = () => undefined) {
    this.#server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
      const connection: OriginConnection = { socket, received: "" };
      this.connections.push(connection);
      socket.on("error", () => undefined);
      socket.on("end", () => socket.end());
      socket.on("data", (chunk: Buffer) => {
        connection.received += chunk.toString("latin1");
        onData(connection);
        const waiting = this.#received;
        this.#received = [];
        for (const resolve of waiting) resolve();
      });
    });
  }

  async listen(): Promise<this> {
    this.#server.listen(await freePort(), "127.0.0.1");
    await once(this.#server, "listening");
    this.port = (this.#server.address() as AddressInfo).port;
    return this;
  }

  /** After the next read of any connection. */
  nextRead(): Promise<void> {
    return new Promise((resolve) => this.#received.push(resolve));
  }

  async until(isTrue: () => boolean): Promise<void> {
    while (!isTrue()) await this.nextRead();
  }

  close(): void {
    this.#server.close();
    for (const { socket } of this.connections) socket.destroy();
  }
}

export class RecordingHandler implements UpstreamHandler {
  readonly informational: number[] = [];
  head: ResponseHead | null = null;
  body = "";
  trailers: HeaderList | null = null;
  failure: UpstreamFailure | null = null;
  detail = "";
  writable = 0;
  /** Calls of `onEnd` and `onError`: exactly one. */
  endings = 0;
  /** Answer of `onBody`. */
  takesMore = true;
  onHeadHook: () => void = () => undefined;
  onBodyHook: () => void = () => undefined;
  /** The answer is complete, or failed. */
  readonly ended: Promise<void>;
  readonly #resolve: () => void;

  constructor() {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.ended = promise;
    this.#resolve = resolve;
  }

  onInformational(head: ResponseHead): void {
    this.informational.push(head.status);
  }

  onHead(head: ResponseHead): void {
    this.head = head;
    this.onHeadHook();
  }

  onBody(chunk: Buffer): boolean {
    this.body += chunk.toString("latin1");
    this.onBodyHook();
    return this.takesMore;
  }

  onEnd(trailers: HeaderList | null): void {
    this.trailers = trailers;
    this.endings++;
    this.#resolve();
  }

  onWritable(): void {
    this.writable++;
  }

  onError(failure: UpstreamFailure, detail: string): void {
    this.failure = failure;
    this.detail = detail;
    this.endings++;
    this.#resolve();
  }

  /** "200 hello", or the failure. */
  get outcome(): string {
    return this.failure ?? `${this.head?.status} ${this.body}`;
  }
}

export const NO_HEADERS = new HeaderList();
