/**
 * Gateways on an etcd with its default limits: how long a large configuration takes to load, and how long a change
 * takes until it is effective on every worker of two nodes.
 *
 *     bin/cardea-node bench/etcd.ts [ROUTES] [CHANGES]     (default: 100000 routes of 2 KB, 300 changes)
 */

import { EtcdStore } from "../src/store/etcd/store.ts";
import type { RealNode } from "../test/promises/real-node.ts";
import { EtcdCluster } from "../test/etcd/members.ts";
import { startNode } from "../test/etcd/nodes.ts";
import { storeOptions } from "../test/etcd/stores.ts";
import { ends, numbersOf, play, t } from "./by-hand.ts";

const ROUTE_BYTES = 2048;
const BATCH = 100;
const BATCHES_UNDER_WAY = 8;

const [routes, changes] = numbersOf([100_000, 300]);

await play(run);

async function run(): Promise<void> {
  const cluster = await EtcdCluster.start(t);
  const store = new EtcdStore({ ...storeOptions(cluster.endpoints), historyRevisions: 0 });
  ends.unshift(() => store.close());
  await fill(store);
  const beganAt = performance.now();
  const { items } = await store.load();
  const bytes = items.reduce((sum, { value }) => sum + value.length, 0);
  tell("routes", String(items.length));
  tell("megabytes", (bytes / 1e6).toFixed(0));
  tell("read from the etcd", `${seconds(performance.now() - beganAt)} s`);

  const nodes: RealNode[] = [];
  for (let i = 0; i < 2; i++) {
    const startedAt = performance.now();
    const node = await startNode(t, cluster.endpoints, (config) => {
      config.supervision.workerHeapMb = 2048;
    });
    nodes.push(node);
    await whenApplied(node, 1);
    tell(`node ${i}: start to effective on all workers`, `${seconds(performance.now() - startedAt)} s`);
  }

  const delays: number[][] = [[], []];
  for (let i = 0; i < changes; i++) {
    const before = await Promise.all(nodes.map(publishedBy));
    const from = performance.now();
    await store.write([{ type: "put", key: `/routes/${i}`, value: routeText(i, `/changed${i}`) }]);
    await Promise.all(
      nodes.map(async (node, n) => {
        await whenApplied(node, before[n] + 1);
        delays[n].push(performance.now() - from);
      }),
    );
  }
  for (const [n, list] of delays.entries()) {
    const sorted = list.toSorted((a, b) => a - b);
    const at = (share: number) => `${sorted[Math.floor((sorted.length - 1) * share)].toFixed(1)} ms`;
    tell(`node ${n}: write to effective`, `p50 ${at(0.5)}, p99 ${at(0.99)}, max ${at(1)}`);
  }
}

async function fill(store: EtcdStore): Promise<void> {
  let next = 0;
  const writers = Array.from({ length: BATCHES_UNDER_WAY }, async () => {
    while (next < routes) {
      const first = next;
      next += BATCH;
      const batch = Array.from({ length: Math.min(BATCH, routes - first) }, (_, i) => ({
        type: "put" as const,
        key: `/routes/${first + i}`,
        value: routeText(first + i, `/path${first + i}`),
      }));
      await store.write(batch);
    }
  });
  await Promise.all(writers);
}

function routeText(id: number, uri: string): string {
  const route = {
    id: String(id),
    uri,
    upstream: { type: "roundrobin", nodes: { "127.0.0.1:1": 1 } },
    plugins: { "response-rewrite": { headers: { set: { "x-filler": "" } } } },
  };
  const missing = ROUTE_BYTES - JSON.stringify(route).length;
  route.plugins["response-rewrite"].headers.set["x-filler"] = "x".repeat(missing);
  return JSON.stringify(route);
}

async function publishedBy(node: RealNode): Promise<number> {
  return (await node.control("/v1/workers")).published_revision;
}

async function whenApplied(node: RealNode, revision: number): Promise<void> {
  for (;;) {
    const { published_revision: published, workers } = await node.control("/v1/workers");
    if (
      published >= revision &&
      workers.every((worker: { applied_revision: number }) => worker.applied_revision >= published)
    )
      return;
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

function seconds(ms: number): string {
  return (ms / 1000).toFixed(1);
}

function tell(what: string, figure: string): void {
  console.log(`${what.padEnd(50)} ${figure}`);
}
