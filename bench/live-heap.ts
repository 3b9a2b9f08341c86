/**
 * What 50,000 routes with four plugins each keep alive in a worker's heap: measured in this process, in memory, behind
 * forced collections, so that neither V8's garbage nor its reserves are part of it. Run by the scenario "memory" with
 * --expose-gc; prints one line of JSON: MB after the routes were placed, and what their first requests added.
 */

import { testGateway } from "../src/testing/index.ts";
import type { Kind } from "../src/shared/configuration-bytes.ts";
import { fourPlugins, mixedRoutes } from "./routes.ts";

const COUNT = 50_000;
const ORIGIN_PORT = 80;
const KINDS: Record<string, Kind> = { upstreams: "upstream", consumers: "consumer", routes: "route" };

const gateway = testGateway();
const { base, routes, requests } = mixedRoutes(COUNT, ORIGIN_PORT, { plugins: fourPlugins });
// Once before the measurement, so that what the first route and request build is no part of it.
for (const { path, body } of [...base, routes[0]]) put(path, body);
await use(0);

const atFirst = liveMb();
for (const { path, body } of routes) put(path, body);
const placed = liveMb();
for (let i = 0; i < COUNT; i++) await use(i);
const used = liveMb();
// Alive until here, or their going would be counted in.
if (routes.length !== requests.length) throw new Error("as many requests as routes");
console.log(JSON.stringify({ placedMb: placed - atFirst, compiledMb: used - placed }));

function put(path: string, body: unknown): void {
  const [collection, id] = path.split("/");
  gateway.put(KINDS[collection], id, body as Record<string, unknown>);
}

async function use(index: number): Promise<void> {
  const { status } = await gateway.request(requests[index]);
  if (status !== 200) throw new Error(`${requests[index].target}: answered ${status}, expected 200`);
}

function liveMb(): number {
  for (let i = 0; i < 3; i++) globalThis.gc!();
  return process.memoryUsage().heapUsed / 1024 / 1024;
}
