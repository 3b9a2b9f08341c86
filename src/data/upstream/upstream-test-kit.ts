/** What upstreams of tests run on: an empty address book, no sweeps, pools that end with the test file, limits that nobody reaches. */

import { after } from "node:test";
import type { UpstreamDefaults } from "../../config/static-config.ts";
import type { PublishedUpstream } from "../../model/published.ts";
import { Deadlines } from "../deadlines.ts";
import { AddressBook } from "./address-book.ts";
import { ConnectionPools } from "./pool.ts";
import type { UpstreamServices } from "./upstream.ts";

const DEFAULTS: UpstreamDefaults = {
  connectTimeoutMs: 6_000,
  sendTimeoutMs: 6_000,
  readTimeoutMs: 6_000,
  keepalive: { size: 4, idleTimeoutMs: 60_000, requests: 1_000 },
  maxHeaderBytes: 16_384,
  maxConnectionsPerNode: 100,
};

export function servicesOf(
  change: Partial<UpstreamServices> = {},
): UpstreamServices & { deadlines: Deadlines } {
  const { now = () => 0 } = change;
  const deadlines = new Deadlines(now, { sweeping: false });
  const pools = new ConnectionPools(deadlines, { ...DEFAULTS, maxHeaders: 100 });
  after(() => pools.closeIdle());
  return {
    defaults: DEFAULTS,
    addresses: new AddressBook(),
    pools,
    health: null,
    workerSlot: 0,
    now,
    random: Math.random,
    ...change,
    deadlines,
  };
}

export function configOf(
  nodes: PublishedUpstream["nodes"],
  rest: Partial<PublishedUpstream> = {},
): PublishedUpstream {
  return { nodes, type: "roundrobin", hash_on: "vars", scheme: "http", pass_host: "pass", ...rest };
}
