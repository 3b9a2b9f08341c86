/**
 * One attempt at one upstream node: what its transport reports, handed to the life of the request.
 *
 * An attempt that was given up (retry, abort) is detached first, so that nothing it still hears can touch
 * the exchange.
 */

import type { HeaderList } from "../../lib/headers.ts";
import type { ResponseHead, UpstreamFailure, UpstreamHandler, UpstreamTransport } from "../transport.ts";
import type { Upstream } from "../upstream/upstream.ts";
import type { UpstreamNode } from "../upstream/node.ts";
import type { HttpExchange } from "./exchange.ts";
import type { FromUpstream } from "../life/from-upstream.ts";
import type { ToUpstream } from "../life/to-upstream.ts";

export class UpstreamAttempt implements UpstreamHandler {
  readonly #request: ToUpstream;
  readonly #answer: FromUpstream;
  readonly #exchange: HttpExchange;
  readonly upstream: Upstream;
  readonly node: UpstreamNode;
  /** Set right after the connect call that got this attempt as its handler. */
  transport!: UpstreamTransport;
  #isLive = true;

  constructor(
    request: ToUpstream,
    answer: FromUpstream,
    exchange: HttpExchange,
    upstream: Upstream,
    node: UpstreamNode,
  ) {
    this.#request = request;
    this.#answer = answer;
    this.#exchange = exchange;
    this.upstream = upstream;
    this.node = node;
  }

  onInformational(head: ResponseHead): void {
    if (this.#isLive) this.#answer.onInformational(this.#exchange, head);
  }

  onHead(head: ResponseHead): void {
    if (this.#isLive) this.#answer.onHead(this.#exchange, head);
  }

  onBody(chunk: Buffer): boolean {
    return this.#isLive ? this.#answer.onBody(this.#exchange, chunk) : true;
  }

  onEnd(trailers: HeaderList | null): void {
    if (this.#isLive) this.#answer.onEnd(this.#exchange, trailers);
  }

  onWritable(): void {
    if (this.#isLive) this.#exchange.body?.onWritable();
  }

  onError(failure: UpstreamFailure, detail: string): void {
    if (this.#isLive) this.#request.onError(this.#exchange, failure, detail);
  }

  /** The attempt is over for the exchange, whatever its transport still does. */
  detach(): void {
    this.#isLive = false;
  }

  /** Gives the attempt up; its connection is not reused. */
  abort(): void {
    if (!this.#isLive) return;
    this.#isLive = false;
    this.transport.abort();
  }
}
