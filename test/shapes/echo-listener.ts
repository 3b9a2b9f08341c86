/**
 * A real listener whose exchange answers each request with what it understood of it, as JSON: the observer for
 * tests of the wire. Limits are small where tests want to reach them.
 */

import type { HttpConfig } from "../../src/config/static-config.ts";
import { Deadlines } from "../../src/data/deadlines.ts";
import { ConnectionCount, type ListenerMeters } from "../../src/data/listen/intake.ts";
import { Listener } from "../../src/data/listen/listener.ts";
import type { ClientHandler, ClientTransport, RequestHead } from "../../src/data/transport.ts";
import { HeaderList } from "../../src/lib/headers.ts";

export const HTTP_CONFIG: HttpConfig = {
  http2: { maxConcurrentStreams: 100 },
  maxHeaderBytes: 32 * 1024,
  maxHeaders: 100,
  maxTargetBytes: 8 * 1024,
  maxBodyBytes: 0,
  headerTimeoutMs: 10_000,
  bodyTimeoutMs: 60_000,
  minBodyBytesPerSecond: 100,
  idleTimeoutMs: 60_000,
  sendTimeoutMs: 60_000,
  maxRequestsPerConnection: 1000,
  maxConnectionsPerWorker: 10_000,
  tunnelIdleTimeoutMs: 60_000,
  underscoresInHeaders: "drop-colliding",
  relaxedTarget: false,
  refuseUnusualBodies: false,
  serverTokens: true,
  showUpstreamStatus: false,
  maxBufferedBodyBytes: 1024 * 1024,
  maxBodyVariableBytes: 1024 * 1024,
  maxGraphqlBytes: 1024 * 1024,
  shedEventLoopDelayMs: 0,
  shedHeapShare: 0,
};

/** What an exchange was told about one request. */
export interface Understood {
  method: string;
  target: string;
  host: string;
  version: string;
  headers: [string, string][];
  length: number;
  body: string;
  trailers: [string, string][];
  upgrade: string | null;
}

function understand(head: RequestHead): Understood {
  return {
    method: head.method,
    target: head.target,
    host: head.authority,
    version: head.version,
    headers: [...head.headers],
    length: head.bodyLength,
    body: "",
    trailers: [],
    upgrade: head.upgrade,
  };
}

/** Reads the whole body, then answers 200 with the JSON of what it understood. */
class Echo implements ClientHandler {
  readonly #transport: ClientTransport;
  readonly #understood: Understood;
  readonly #seen: Understood[];
  readonly #aborts: string[];
  readonly #chunks: Buffer[] = [];

  constructor(transport: ClientTransport, head: RequestHead, seen: Understood[], aborts: string[]) {
    this.#transport = transport;
    this.#understood = understand(head);
    this.#seen = seen;
    this.#aborts = aborts;
    transport.readBody();
  }

  onBody(chunk: Buffer): boolean {
    this.#chunks.push(chunk);
    return true;
  }

  onEnd(trailers: HeaderList | null): void {
    this.#understood.body = Buffer.concat(this.#chunks).toString("latin1");
    this.#understood.trailers = trailers === null ? [] : [...trailers];
    this.#seen.push(this.#understood);
    const headers = HeaderList.from({ "Content-Type": "application/json" });
    this.#transport.writeAnswer(200, "OK", headers, JSON.stringify(this.#understood));
  }

  onWritable(): void {
    // One small answer: nothing waits.
  }

  onAbort(reason: string): void {
    this.#aborts.push(reason);
  }
}

export interface EchoListener {
  port: number;
  listener: Listener;
  deadlines: Deadlines;
  seen: Understood[];
  aborts: string[];
  refused: string[];
  count: ConnectionCount;
}

export interface EchoOptions {
  http?: Partial<HttpConfig>;
  proxyProtocol?: boolean;
  deadlines?: Deadlines;
  onRequest?: (transport: ClientTransport, head: RequestHead) => ClientHandler;
}

export async function echoListener(options: EchoOptions = {}): Promise<EchoListener> {
  const seen: Understood[] = [];
  const aborts: string[] = [];
  const refused: string[] = [];
  const deadlines = options.deadlines ?? new Deadlines();
  const count = new ConnectionCount();
  const meters: ListenerMeters = {
    accepted: () => undefined,
    ended: () => undefined,
    overLimit: () => refused.push("over-limit"),
    proxyHeaderRefused: () => refused.push("proxy-header"),
    handshake: (failure) => refused.push(`handshake: ${failure}`),
    requestRefused: (error) => refused.push(error.code),
    fault: (fault) => refused.push(`fault: ${String(fault)}`),
  };
  const listener = new Listener({
    http: { ...HTTP_CONFIG, ...options.http },
    deadlines,
    onRequest: options.onRequest ?? ((transport, head) => new Echo(transport, head, seen, aborts)),
    meters,
    count,
    proxyProtocol: options.proxyProtocol ?? false,
    tls: null,
  });
  const port = await listener.listen({ host: "127.0.0.1", port: 0 });
  return { port, listener, deadlines, seen, aborts, refused, count };
}
