/**
 * Reads all keys of a prefix in pages, all of one revision, so that neither an answer nor etcd's work for it is
 * large whatever the configuration is: the number of keys in a page follows their size.
 */

import { StoreUnavailableError, type StoredItem, type StoreState } from "../contract.ts";
import type { EtcdClient } from "./client.ts";
import { EtcdFault } from "./faults.ts";
import { afterKey, endOf, itemOf } from "./keys.ts";
import { KV, type ResponseHeader } from "./protocol/rpc_pb.ts";

/** What an answer is meant to have: below the 4 MiB that gRPC's clients take by default, as proxies may. */
const PAGE_BYTES = 3 * 1024 * 1024;
const FIRST_PAGE_KEYS = 64;
const MOST_PAGE_KEYS = 4096;
const RESTARTS = 5;

export interface LoadedPages extends StoreState {
  header: ResponseHeader;
}

/** Rejects with `StoreUnavailableError`. */
export async function loadPages(client: EtcdClient, prefix: string): Promise<LoadedPages> {
  for (let restart = 0; ; restart++) {
    try {
      return await loadOnce(client, prefix);
    } catch (error) {
      if (!(error instanceof EtcdFault)) throw error;
      // The revision was compacted meanwhile: a load of seconds in an etcd that keeps less.
      if (error.kind === "revision" && restart < RESTARTS) continue;
      throw new StoreUnavailableError(`the etcd cannot be read: ${error.message}`, { cause: error });
    }
  }
}

async function loadOnce(client: EtcdClient, prefix: string): Promise<LoadedPages> {
  const items: StoredItem[] = [];
  const rangeEnd = endOf(`${prefix}/`);
  let key: Uint8Array = Buffer.from(`${prefix}/`);
  let limit = FIRST_PAGE_KEYS;
  let first: ResponseHeader | undefined;
  for (;;) {
    const revision = first?.revision ?? 0n;
    try {
      const request = { key, rangeEnd, revision, limit: BigInt(limit) };
      const { header, kvs, more } = await client.call(KV.method.range, request, { isRepeatable: true });
      if (header === undefined) throw new EtcdFault("refused", "an answer without a header");
      first ??= header;
      let bytes = 0;
      for (const kv of kvs) {
        bytes += kv.key.length + kv.value.length;
        items.push(itemOf(kv, prefix));
      }
      if (!more || kvs.length === 0) return { revision: Number(first.revision), items, header: first };
      key = afterKey(kvs.at(-1)!.key);
      const fitting = Math.floor((PAGE_BYTES * kvs.length) / Math.max(bytes, 1));
      limit = Math.max(1, Math.min(fitting, limit * 4, MOST_PAGE_KEYS));
    } catch (error) {
      if (!(error instanceof EtcdFault) || error.kind !== "large-answer" || limit === 1) throw error;
      limit = Math.max(1, Math.floor(limit / 8));
    }
  }
}
