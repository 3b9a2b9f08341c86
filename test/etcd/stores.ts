/** Stores over the etcd of a test. */

import { EtcdStore, type EtcdStoreOptions } from "../../src/store/etcd/store.ts";
import type { TestContext } from "node:test";

export interface ToldLine {
  level: "info" | "warn";
  message: string;
  fields: object | undefined;
}

/** Its log is dropped unless `log` is given. */
export function storeOptions(endpoints: string[], change: Partial<EtcdStoreOptions> = {}): EtcdStoreOptions {
  return {
    endpoints,
    prefix: "/apisix",
    timeoutMs: 10_000,
    avoidFailedMs: 10_000,
    longestPauseMs: 500,
    user: null,
    tls: null,
    historyRevisions: 10_000,
    historyDays: 30,
    log: { info: () => {}, warn: () => {} },
    ...change,
  };
}

export function openStore(t: TestContext, options: EtcdStoreOptions): EtcdStore {
  const store = new EtcdStore(options);
  t.after(() => store.close());
  return store;
}
