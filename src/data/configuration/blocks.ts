/**
 * The blocks of a node, as requests ask them: who is refused, and with which answer.
 *
 * A block holds for the requests for which everything that it names holds: route, service, consumer, addresses. Without
 * a block there is no object of this class, and a request pays one comparison. With blocks it pays a look-up for each
 * thing that blocks name, however many they are.
 */

import type { Answer } from "../../plugin/exchange.ts";
import type { PublishedBlock } from "../../model/published.ts";
import { AddressSet } from "../../lib/address.ts";

/** What a block is compared with; an exchange is one. Connections have `streamRouteKey` as the id of their route. */
export interface Blockable {
  readonly route: { readonly id: string; readonly serviceId: string | undefined } | null;
  readonly consumer: { readonly username: string } | null;
  readonly client: { readonly address: string };
}

/** Routes and stream routes may have the same id. */
export function streamRouteKey(id: string): string {
  return `stream_route#${id}`;
}

interface Block {
  id: string;
  serviceId: string | undefined;
  routeId: string | undefined;
  consumer: string | undefined;
  addresses: AddressSet | null;
  /** The same as text. */
  ranges: readonly string[];
  /** Milliseconds since 1970; Infinity: until it is taken back. */
  endsAt: number;
  closesConnections: boolean;
  answer: Answer;
}

export class Blocks {
  readonly #byId = new Map<string, Block>();
  /** By the narrowest thing that each names. */
  readonly #byConsumer = new Map<string, Block[]>();
  readonly #byRoute = new Map<string, Block[]>();
  readonly #byService = new Map<string, Block[]>();
  readonly #byAddress: Block[] = [];
  /** Of all in `#byAddress`; null: to be made. */
  #addresses: AddressSet | null = null;

  /** `blocks` with one more, or with another in the place of the one with this id. */
  static with(blocks: Blocks | null, id: string, published: PublishedBlock): Blocks {
    // First of all, since it may throw: the block that was then stays.
    const block = compileBlock(id, published);
    const all = blocks ?? new Blocks();
    all.#remove(id);
    all.#add(block);
    return all;
  }

  /** Null: that was the last one. */
  static without(blocks: Blocks | null, id: string): Blocks | null {
    if (blocks === null) return null;
    blocks.#remove(id);
    return blocks.#byId.size === 0 ? null : blocks;
  }

  /** The answer of a block that holds now; undefined: none does. */
  answerFor(x: Blockable, nowMs: number): Answer | undefined {
    return this.#find(x, nowMs, false)?.answer;
  }

  /** Whether what the exchange has open (a WebSocket, a connection) is to be closed. */
  closes(x: Blockable, nowMs: number): boolean {
    return this.#find(x, nowMs, true) !== undefined;
  }

  #find(x: Blockable, nowMs: number, closing: boolean): Block | undefined {
    if (x.consumer !== null && this.#byConsumer.size > 0) {
      const found = firstThatHolds(this.#byConsumer.get(x.consumer.username), x, nowMs, closing);
      if (found !== undefined) return found;
    }
    if (x.route !== null) {
      const found =
        firstThatHolds(this.#byRoute.get(x.route.id), x, nowMs, closing) ??
        firstThatHolds(this.#byService.get(x.route.serviceId ?? ""), x, nowMs, closing);
      if (found !== undefined) return found;
    }
    if (this.#byAddress.length === 0) return undefined;
    this.#addresses ??= new AddressSet(this.#byAddress.flatMap((block) => block.ranges));
    if (!this.#addresses.has(x.client.address)) return undefined;
    return firstThatHolds(this.#byAddress, x, nowMs, closing);
  }

  #listOf(block: Block, makesOne: boolean): Block[] | undefined {
    const [index, key] =
      block.consumer !== undefined
        ? [this.#byConsumer, block.consumer]
        : block.routeId !== undefined
          ? [this.#byRoute, block.routeId]
          : block.serviceId !== undefined
            ? [this.#byService, block.serviceId]
            : [null, ""];
    if (index === null) return this.#byAddress;
    const list = index.get(key);
    if (list !== undefined || !makesOne) return list;
    const made: Block[] = [];
    index.set(key, made);
    return made;
  }

  #add(block: Block): void {
    this.#byId.set(block.id, block);
    this.#listOf(block, true)!.push(block);
    this.#addresses = null;
  }

  #remove(id: string): void {
    const block = this.#byId.get(id);
    if (block === undefined) return;
    this.#byId.delete(id);
    const list = this.#listOf(block, false)!;
    list.splice(list.indexOf(block), 1);
    if (list.length === 0 && list !== this.#byAddress) {
      if (block.consumer !== undefined) this.#byConsumer.delete(block.consumer);
      else if (block.routeId !== undefined) this.#byRoute.delete(block.routeId);
      else this.#byService.delete(block.serviceId!);
    }
    this.#addresses = null;
  }
}

function firstThatHolds(
  blocks: readonly Block[] | undefined,
  x: Blockable,
  nowMs: number,
  closing: boolean,
): Block | undefined {
  if (blocks === undefined) return undefined;
  for (let i = 0; i < blocks.length; i++) {
    const block = blocks[i];
    if (nowMs >= block.endsAt || (closing && !block.closesConnections)) continue;
    if (block.consumer !== undefined && x.consumer?.username !== block.consumer) continue;
    if (block.routeId !== undefined && x.route?.id !== block.routeId) continue;
    if (block.serviceId !== undefined && x.route?.serviceId !== block.serviceId) continue;
    if (block.addresses === null || block.addresses.has(x.client.address)) return block;
  }
  return undefined;
}

function compileBlock(id: string, published: PublishedBlock): Block {
  const { status, body, expiry, addresses } = published;
  return {
    id,
    serviceId: published.service_id,
    routeId:
      published.stream_route_id === undefined
        ? published.route_id
        : streamRouteKey(published.stream_route_id),
    consumer: published.consumer,
    addresses: addresses === undefined ? null : new AddressSet(addresses),
    ranges: addresses ?? [],
    endsAt: expiry === undefined ? Infinity : expiry * 1000,
    closesConnections: published.close_connections,
    answer: { status, body: body ?? { error_msg: "blocked" }, headers: undefined },
  };
}
