/**
 * Reports of nodes about themselves, beside the data under a prefix of their own, which neither APISIX nor the watches of the
 * configuration read:
 *
 *     /cardea/gateways/apisix/4f1d2a9c0b7e6351.812-1763732
 *
 * Each ends with a lease when its node has not renewed it. Leases are used again for half of their time.
 */

import { type NodeReports, StoreUnavailableError } from "../contract.ts";
import type { EtcdClient } from "./client.ts";
import { EtcdFault } from "./faults.ts";
import { afterKey, endOf, storeKeyOf, textOf } from "./keys.ts";
import { KV, Lease } from "./protocol/rpc_pb.ts";

const ROOT = "/cardea/gateways";
const PAGE = 500;

export class EtcdReports implements NodeReports {
  readonly #client: EtcdClient;
  readonly #prefix: string;
  readonly #now: () => number;
  #lease: { id: bigint; seconds: number; until: number } | null = null;

  constructor(client: EtcdClient, prefix: string, now: () => number = () => performance.now()) {
    this.#client = client;
    this.#prefix = `${ROOT}${prefix}/`;
    this.#now = now;
  }

  async put(id: string, text: string, lifeSeconds: number): Promise<void> {
    await this.#attempt(async () => {
      const key = this.#keyOf(id);
      const value = Buffer.from(text);
      try {
        await this.#put(key, value, await this.#leaseFor(lifeSeconds));
      } catch (error) {
        if (!String(error).includes("requested lease not found")) throw error;
        // As after a restore, or when the machine slept for long.
        this.#lease = null;
        await this.#put(key, value, await this.#leaseFor(lifeSeconds));
      }
    });
  }

  async list(): Promise<Map<string, string>> {
    return await this.#attempt(async () => {
      const reports = new Map<string, string>();
      const rangeEnd = endOf(this.#prefix);
      for (let key: Uint8Array = Buffer.from(this.#prefix); ;) {
        const request = { key, rangeEnd, limit: BigInt(PAGE) };
        const { kvs, more } = await this.#client.call(KV.method.range, request, { isRepeatable: true });
        for (const kv of kvs) reports.set(storeKeyOf(kv.key, this.#prefix), textOf(kv.value));
        if (!more || kvs.length === 0) return reports;
        key = afterKey(kvs.at(-1)!.key);
      }
    });
  }

  async remove(id: string): Promise<boolean> {
    return await this.#attempt(async () => {
      const value = { key: this.#keyOf(id) };
      const request = { success: [{ request: { case: "requestDeleteRange" as const, value } }] };
      const { responses } = await this.#client.call(KV.method.txn, request, { isRepeatable: true });
      const answer = responses[0]?.response;
      return answer?.case === "responseDeleteRange" && answer.value.deleted > 0n;
    });
  }

  async #put(key: Buffer, text: Buffer, lease: bigint): Promise<void> {
    const value = { key, value: text, lease };
    const request = { success: [{ request: { case: "requestPut" as const, value } }] };
    await this.#client.call(KV.method.txn, request, { isRepeatable: true });
  }

  #keyOf(id: string): Buffer {
    return Buffer.from(this.#prefix + id);
  }

  async #leaseFor(seconds: number): Promise<bigint> {
    const lease = this.#lease;
    if (lease !== null && lease.seconds === seconds && lease.until > this.#now()) return lease.id;
    const until = this.#now() + (seconds * 1000) / 2;
    const request = { TTL: BigInt(seconds) };
    const { ID: id } = await this.#client.call(Lease.method.leaseGrant, request, { isRepeatable: true });
    this.#lease = { id, seconds, until };
    return id;
  }

  async #attempt<T>(run: () => Promise<T>): Promise<T> {
    try {
      return await run();
    } catch (error) {
      if (!(error instanceof EtcdFault)) throw error;
      throw new StoreUnavailableError(`the etcd refuses it: ${error.message}`, { cause: error });
    }
  }
}
