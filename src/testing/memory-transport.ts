/** A client without a socket: hands a request to the gateway and gathers the answer. */

import type { Socket } from "node:net";
import type { ClientConnection, ClientHandler, ClientTransport, RequestHead } from "../data/transport.ts";
import { HeaderList } from "../lib/headers.ts";
import { UNKNOWN_LENGTH } from "../data/transport.ts";

export interface TestRequest {
  method?: string;
  /** Origin form, query included. */
  target?: string;
  /** Default "localhost". */
  host?: string;
  headers?: Record<string, string>;
  body?: string | Buffer;
  /** Length as the head declares it; `UNKNOWN_LENGTH` for a chunked body. Default: the body's. */
  bodyLength?: number;
  /** Address of the client; default 127.0.0.1. */
  address?: string;
  version?: "1.0" | "1.1" | "2";
}

export interface TestResponse {
  status: number;
  headers: HeaderList;
  body: Buffer;
  text: string;
  /** The gateway broke the answer off. */
  isAborted: boolean;
}

export function headOf(request: TestRequest): RequestHead {
  const host = request.host ?? "localhost";
  const body = bodyOf(request);
  const headers = HeaderList.from({ Host: host, ...request.headers });
  const bodyLength = request.bodyLength ?? body.length;
  if (bodyLength > 0) headers.set("Content-Length", String(bodyLength));
  return {
    method: request.method ?? "GET",
    target: request.target ?? "/",
    authority: host.toLowerCase(),
    sentAuthority: host,
    headers,
    version: request.version ?? "1.1",
    bodyLength,
    upgrade: null,
    expectsContinue: false,
    headBytes: 0,
  };
}

export class MemoryTransport implements ClientTransport {
  readonly connection: ClientConnection;
  bytesSent = 0;
  bodyBytesSent = 0;
  bytesReceived = 0;
  /** Set once the gateway gave it. */
  handler: ClientHandler | null = null;
  readonly done: Promise<TestResponse>;
  readonly #method: string;
  readonly #body: Buffer;
  readonly #finish: (response: TestResponse) => void;
  readonly #chunks: Buffer[] = [];
  #status = 0;
  #hasBody = true;
  #headers = new HeaderList();

  constructor(request: TestRequest) {
    const { promise, resolve } = Promise.withResolvers<TestResponse>();
    this.done = promise;
    this.#finish = resolve;
    this.#method = request.method ?? "GET";
    this.#body = bodyOf(request);
    this.connection = {
      remoteAddress: request.address ?? "127.0.0.1",
      remotePort: 40_000,
      localAddress: "127.0.0.1",
      localPort: 9080,
      proxyProtocolAddress: null,
      scheme: "http",
      tls: null,
      serial: 1,
      requests: 1,
    };
  }

  readBody(): void {
    queueMicrotask(() => {
      if (this.#body.length > 0) {
        this.bytesReceived += this.#body.length;
        this.handler!.onBody(this.#body);
      }
      this.handler!.onEnd(null);
    });
  }

  holdOpen(): void {
    // There is no time here.
  }

  resumeBody(): void {
    // The whole body was handed over at once.
  }

  writeInformational(): void {
    // Nobody looks at these here.
  }

  writeHead(
    status: number,
    _reason: string,
    headers: HeaderList,
    bodyLength: number,
    keepLength: number | null,
  ): void {
    this.#status = status;
    this.#headers = headers.clone();
    this.#hasBody = this.#method !== "HEAD" && status !== 204 && status !== 304;
    const declared = bodyLength === UNKNOWN_LENGTH ? null : bodyLength;
    const length = this.#hasBody ? declared : status === 204 ? null : keepLength;
    if (length !== null) this.#headers.set("Content-Length", String(length));
  }

  writeBody(chunk: Buffer): boolean {
    if (!this.#hasBody) return true;
    this.#chunks.push(Buffer.from(chunk));
    this.bodyBytesSent += chunk.length;
    this.bytesSent += chunk.length;
    return true;
  }

  writeEnd(): void {
    this.#end(false);
  }

  writeAnswer(status: number, reason: string, headers: HeaderList, body: Buffer | string): void {
    const bytes = typeof body === "string" ? Buffer.from(body) : body;
    this.writeHead(status, reason, headers, bytes.length, bytes.length);
    if (bytes.length > 0) this.writeBody(bytes);
    this.writeEnd();
  }

  abort(): void {
    this.#end(true);
  }

  takeSocket(): { socket: Socket; rest: Buffer } {
    throw new Error("a client in memory has no socket");
  }

  #end(isAborted: boolean): void {
    const body = Buffer.concat(this.#chunks);
    this.#finish({ status: this.#status, headers: this.#headers, body, text: body.toString(), isAborted });
  }
}

function bodyOf(request: TestRequest): Buffer {
  return typeof request.body === "string" ? Buffer.from(request.body) : (request.body ?? Buffer.alloc(0));
}
