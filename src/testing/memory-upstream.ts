/** Upstreams without sockets: every attempt is answered by a function. */

import type { Socket } from "node:net";
import type { PublishedUpstream } from "../model/published.ts";
import { speaksHttp2 } from "../model/schemes.ts";
import type { UpstreamHandler, UpstreamTransport } from "../data/transport.ts";
import type { Upstream } from "../data/upstream/upstream.ts";
import { HeaderList } from "../lib/headers.ts";
import { UpstreamNode } from "../data/upstream/node.ts";

/** A request as the upstream got it. */
export interface ForwardedRequest {
  method: string;
  target: string;
  headers: HeaderList;
  body: Buffer;
  /** "host:port" of the node. */
  node: string;
}

export interface UpstreamAnswer {
  status?: number;
  headers?: Record<string, string>;
  body?: string | Buffer;
}

export type UpstreamFunction = (request: ForwardedRequest) => UpstreamAnswer | Promise<UpstreamAnswer>;

/** Stands in for `Upstream`: takes the first node, never retries. */
export function memoryUpstream(config: PublishedUpstream, answer: UpstreamFunction): Upstream {
  const nodes = config.nodes.map(
    (node) => new UpstreamNode(node.host, node.host, node.port, node.weight, node.priority),
  );
  const connect = (node: UpstreamNode, handler: UpstreamHandler): UpstreamTransport =>
    new MemoryAttempt(node.name, handler, answer);
  const upstream = {
    scheme: config.scheme,
    isHttp2: speaksHttp2(config.scheme),
    isUnresolved: false,
    pick: () => nodes[0] ?? null,
    hostFor: (node: UpstreamNode, clientHost: string) =>
      config.pass_host === "pass" ? clientHost : node.name,
    connect,
    connectCopy: connect,
    mayRetry: () => false,
    finished: () => undefined,
    answered: () => undefined,
    failed: () => undefined,
    isDrained: () => false,
    limit: null,
    dispose: () => undefined,
  };
  return upstream as unknown as Upstream;
}

class MemoryAttempt implements UpstreamTransport {
  hasSent = false;
  connectedAt = performance.now();
  readonly #node: string;
  readonly #handler: UpstreamHandler;
  readonly #answer: UpstreamFunction;
  readonly #chunks: Buffer[] = [];
  #method = "";
  #target = "";
  #headers = new HeaderList();
  #isAborted = false;

  constructor(node: string, handler: UpstreamHandler, answer: UpstreamFunction) {
    this.#node = node;
    this.#handler = handler;
    this.#answer = answer;
  }

  writeHead(method: string, target: string, headers: HeaderList): void {
    this.#method = method;
    this.#target = target;
    this.#headers = headers;
  }

  writeBody(chunk: Buffer): boolean {
    this.#chunks.push(chunk);
    return true;
  }

  writeEnd(): void {
    this.hasSent = true;
    void this.#reply();
  }

  resumeBody(): void {
    // The answer comes at once.
  }

  abort(): void {
    this.#isAborted = true;
  }

  takeSocket(): { socket: Socket; rest: Buffer } {
    throw new Error("an upstream in memory has no socket");
  }

  async #reply(): Promise<void> {
    const answer = await this.#answer({
      method: this.#method,
      target: this.#target,
      headers: this.#headers,
      body: Buffer.concat(this.#chunks),
      node: this.#node,
    });
    if (this.#isAborted) return;
    const body =
      typeof answer.body === "string" ? Buffer.from(answer.body) : (answer.body ?? Buffer.alloc(0));
    const headers = HeaderList.from(answer.headers ?? {});
    headers.set("Content-Length", String(body.length));
    const bodyLength = this.#method === "HEAD" ? 0 : body.length;
    this.#handler.onHead({ status: answer.status ?? 200, reason: "", headers, version: "1.1", bodyLength });
    if (bodyLength > 0) this.#handler.onBody(body);
    this.#handler.onEnd(null);
  }
}
