/**
 * The newest change that this node has seen of an etcd: what tells whether the etcd of now is the one of before, or
 * a restored backup that has gone another way. A restored cluster may have the same id, and its revision may be
 * beyond the old one by the time it is seen.
 */

import type { StoredItem } from "../contract.ts";
import type { EtcdClient } from "./client.ts";
import { EtcdFault } from "./faults.ts";
import { itemOf } from "./keys.ts";
import { KV, type ResponseHeader } from "./protocol/rpc_pb.ts";

export class Landmark {
  readonly #prefix: string;
  #newest: StoredItem | null = null;
  #clusterId = 0n;
  #term = 0n;

  constructor(prefix: string) {
    this.#prefix = prefix;
  }

  /** Hexadecimal; "": not known yet. */
  get clusterId(): string {
    return this.#clusterId === 0n ? "" : this.#clusterId.toString(16);
  }

  saw(item: StoredItem): void {
    if (this.#newest === null || item.modRevision >= this.#newest.modRevision) this.#newest = item;
  }

  /** Everything was loaded: what was known before does not count any more. */
  reset(header: ResponseHeader, items: readonly StoredItem[]): void {
    this.#clusterId = header.clusterId;
    this.#term = header.raftTerm;
    this.#newest = null;
    for (const item of items) this.saw(item);
  }

  /** Whether the cluster can be the one that was seen up to `revision`; for answers of reads through the leader. */
  agrees(header: ResponseHeader, revision: number): boolean {
    const { clusterId, raftTerm } = header;
    // Some answers of a grpc-proxy have neither.
    if (clusterId !== 0n && this.#clusterId !== 0n && clusterId !== this.#clusterId) return false;
    if (raftTerm !== 0n && raftTerm < this.#term) return false;
    if (Number(header.revision) < revision) return false;
    if (clusterId !== 0n) this.#clusterId = clusterId;
    if (raftTerm !== 0n) this.#term = raftTerm;
    return true;
  }

  /** Asks whether the newest change that was seen is in the cluster. Rejects as calls do. */
  async isThere(client: EtcdClient, told: number): Promise<boolean> {
    const newest = this.#newest;
    const key = Buffer.from(`${this.#prefix}${newest?.key ?? "/"}`);
    const now = await client.call(KV.method.range, { key }, { isRepeatable: true });
    if (now.header === undefined || !this.agrees(now.header, told)) return false;
    if (newest === null) return true;
    if (now.kvs.length > 0 && isSame(itemOf(now.kvs[0], this.#prefix), newest)) return true;
    try {
      const revision = BigInt(newest.modRevision);
      const then = await client.call(KV.method.range, { key, revision }, { isRepeatable: true });
      return then.kvs.length > 0 && isSame(itemOf(then.kvs[0], this.#prefix), newest);
    } catch (error) {
      if (error instanceof EtcdFault && error.kind === "revision") return false;
      throw error;
    }
  }
}

function isSame(a: StoredItem, b: StoredItem): boolean {
  return a.modRevision === b.modRevision && a.createRevision === b.createRevision && a.value === b.value;
}
