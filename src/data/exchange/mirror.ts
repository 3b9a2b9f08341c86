/**
 * Copies of requests, sent to another upstream whose answers are thrown away.
 *
 * A copy belongs to nobody: the request neither waits for it nor hears of its failure, and it goes on when the request
 * is answered. So it keeps to bounds of its own: copies under way in a worker, bytes that its node has not taken, and
 * bytes of an answer that are worth reading to keep the connection. It is sent once, never repeated.
 *
 * A call of gRPC goes to mirrors that speak HTTP/2, and nothing else does to those of gRPC. Its answer may be a stream
 * without end, so a call that its client takes back is taken back from the mirror, too.
 */

import { isGrpc } from "../../model/schemes.ts";
import type { MirrorOutcome } from "../../plugin/exchange.ts";
import type { HeaderList } from "../../lib/headers.ts";
import type { UpstreamReference } from "../configuration/upstream-reference.ts";
import type { ResponseHead, UpstreamHandler, UpstreamTransport } from "../transport.ts";
import type { UpstreamNode } from "../upstream/node.ts";
import type { Upstream } from "../upstream/upstream.ts";
import type { BodyCopy } from "./request-body.ts";
import type { HttpExchange } from "./exchange.ts";
import { TriedNodes } from "../upstream/node.ts";

/** What a plugin asked for. */
export interface MirrorWish {
  upstream: UpstreamReference;
  /** Null: the target of the request. */
  target: string | null;
  onEnd: (outcome: MirrorOutcome) => void;
  /** The copy of a call of gRPC, once it is on its way; null: none, or of another request. */
  call: BodyCopy | null;
}

/** The client has left before its call was answered. */
export function takeBackCalls(wishes: readonly MirrorWish[]): void {
  for (const { call } of wishes) call?.abort();
}

/** Copies of one worker under way at one time; more are dropped. */
export const MAX_MIRRORS = 1000;
/** Bytes of a body that wait for the node of a copy; beyond them it is dropped. */
export const MAX_WAITING_BYTES = 1024 ** 2;
/** What a part of a body costs beside its bytes. */
const PART_BYTES = 256;
/** A longer answer is cut off, and its connection with it. */
export const MAX_ANSWER_BYTES = 64 * 1024;

export class Mirrors {
  #underWay = 0;

  get underWay(): number {
    return this.#underWay;
  }

  /** The first attempt of the exchange begins with this head. Never throws. */
  send(x: HttpExchange, target: string, headers: HeaderList, bodyLength: number): void {
    for (const wish of x.mirrors!) {
      const copy = this.#underWay < MAX_MIRRORS ? this.#begin(x, wish, target, headers, bodyLength) : null;
      if (copy === null) wish.onEnd("dropped");
      else if (x.body === null) copy.writeEnd(null);
      else x.body.copyTo(copy);
    }
  }

  #begin(
    x: HttpExchange,
    wish: MirrorWish,
    target: string,
    headers: HeaderList,
    bodyLength: number,
  ): Mirror | null {
    const upstream = wish.upstream.get();
    const node = upstream === null ? null : upstream.pick(x, TriedNodes.NONE);
    if (upstream === null || node === null || !canTake(upstream, x.upstream!)) return null;
    const mirror = new Mirror(upstream, node, (outcome) => {
      this.#underWay--;
      wish.onEnd(outcome);
    });
    this.#underWay++;
    if (isGrpc(upstream.scheme)) wish.call = mirror;
    mirror.begin(x.request.method, wish.target ?? target, withoutUpgrade(headers), bodyLength);
    return mirror;
  }
}

class Mirror implements UpstreamHandler, BodyCopy {
  readonly #upstream: Upstream;
  readonly #node: UpstreamNode;
  readonly #onEnd: (outcome: MirrorOutcome) => void;
  readonly #startedAt = performance.now();
  #transport!: UpstreamTransport;
  #isOver = false;
  #isHeldUp = false;
  #waitingBytes = 0;
  #answerBytes = 0;

  constructor(upstream: Upstream, node: UpstreamNode, onEnd: (outcome: MirrorOutcome) => void) {
    this.#upstream = upstream;
    this.#node = node;
    this.#onEnd = onEnd;
  }

  begin(method: string, target: string, headers: HeaderList, bodyLength: number): void {
    this.#transport = this.#upstream.connectCopy(this.#node, this, headers.get("host") ?? "");
    try {
      this.#transport.writeHead(method, target, headers, bodyLength);
    } catch {
      // A head that cannot be sent fails the request itself, too, and is told there.
      this.#giveUp("dropped");
    }
  }

  writeBody(chunk: Buffer): void {
    if (this.#isOver) return;
    if (this.#isHeldUp) this.#waitingBytes += chunk.length + PART_BYTES;
    if (this.#waitingBytes > MAX_WAITING_BYTES) this.#giveUp("dropped");
    else if (!this.#transport.writeBody(chunk)) this.#isHeldUp = true;
  }

  writeEnd(trailers: HeaderList | null): void {
    if (!this.#isOver) this.#transport.writeEnd(trailers);
  }

  /** The client left: half a request is nothing to send, and of a call nobody wants the rest. */
  abort(): void {
    this.#giveUp("dropped");
  }

  onWritable(): void {
    this.#isHeldUp = false;
    this.#waitingBytes = 0;
  }

  onInformational(): void {
    // As all of its answer: not looked at.
  }

  onHead(head: ResponseHead): void {
    if (head.status === 101 || head.bodyLength > MAX_ANSWER_BYTES) this.#giveUp("answered");
  }

  onBody(chunk: Buffer): boolean {
    this.#answerBytes += chunk.length;
    if (this.#answerBytes > MAX_ANSWER_BYTES) this.#giveUp("answered");
    return true;
  }

  onEnd(): void {
    this.#finish("answered");
  }

  onError(): void {
    this.#finish("failed");
  }

  #giveUp(outcome: MirrorOutcome): void {
    if (this.#isOver) return;
    this.#finish(outcome);
    this.#transport.abort();
  }

  #finish(outcome: MirrorOutcome): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#upstream.finished(this.#node, performance.now() - this.#startedAt, outcome !== "failed");
    this.#onEnd(outcome);
  }
}

/** Whether `mirror` understands what goes to `upstream`: trailers and streams of gRPC need HTTP/2. */
function canTake(mirror: Upstream, upstream: Upstream): boolean {
  return mirror.isHttp2 === upstream.isHttp2 || !(isGrpc(mirror.scheme) || isGrpc(upstream.scheme));
}

/** The node of a copy has nobody to switch protocols with. */
function withoutUpgrade(headers: HeaderList): HeaderList {
  if (!headers.has("upgrade")) return headers;
  const others = headers.clone();
  others.delete("upgrade");
  others.delete("connection");
  return others;
}
