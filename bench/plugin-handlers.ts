/**
 * What plugins add in the gateway's own code: a gateway in memory, without sockets, measured in blocks of requests that
 * take turns, a block with a plugin after each block without. Run as a program: plugin-handlers.ts ROUNDS
 *
 * Prints one line of JSON: [{name, cpuUs, addedUs, spreadUs}], of which the first is the route without plugins. A block
 * takes below a millisecond, so that whatever else goes on is mostly the same for two neighbours; the mean of the middle half of
 * their differences counts. The spread is the larger distance to it from those of the first and of the second half of the run.
 */

import { testGateway } from "../src/testing/index.ts";
import type { RequestShape } from "./load/request-list.ts";
import { baseResources, COSTED_PLUGINS, costRoutes, type Plugins } from "./routes.ts";
import { addedBetween, middleMean } from "./statistics.ts";

const BLOCK_REQUESTS = 100;
const WARM_UP_BLOCKS = 30;
const rounds = Number(process.argv[2]);

const names = ["bare", ...Object.keys(COSTED_PLUGINS)];
const { routes, requests } = costRoutes(80);
// Another route without plugins: what it seems to add is what changing the route adds, and not part of any plugin's cost.
const again = "/plugin/again";
names.push(again);
routes.push({ path: "routes/again", body: { ...(routes[0].body as object), uri: again } });
requests.push({ ...requests[0], target: again });
const consumer = baseResources(80).find(({ path }) => path.startsWith("consumers/"))!.body;
const answer = "a".repeat(1024);
const gateway = testGateway({
  consumers: [consumer as Record<string, unknown>],
  routes: routes.map(({ body }, i) => {
    const { uri, plugins } = body as { uri: string; plugins: Plugins };
    return { id: String(i), uri, plugins, upstream: { nodes: { "127.0.0.1:80": 1 } } };
  }),
  upstream: () => ({ status: 200, headers: { "Content-Type": "text/plain" }, body: answer }),
});

/**
 * µs per request, by the clock: the CPU time of a thread advances with the scheduler's tick on some systems, in steps of
 * several blocks. A block that was interrupted is not in the middle half.
 */
async function block({ target, headers }: RequestShape): Promise<number> {
  const request = { target, headers: { "User-Agent": "bench", Accept: "*/*", ...headers } };
  const before = performance.now();
  for (let i = 0; i < BLOCK_REQUESTS; i++) {
    const { status } = await gateway.request(request);
    if (status !== 200) throw new Error(`${target} answers ${status}`);
  }
  return ((performance.now() - before) * 1000) / BLOCK_REQUESTS;
}

const costs: number[][] = names.map(() => []);
const added: number[][] = names.map(() => []);
for (const request of requests) for (let i = 0; i < WARM_UP_BLOCKS; i++) await block(request);
let before = await block(requests[0]);
for (let round = 0; round < rounds; round++) {
  for (let i = 1; i < names.length; i++) {
    const cost = await block(requests[i]);
    const after = await block(requests[0]);
    costs[0].push(after);
    costs[i].push(cost);
    added[i].push(addedBetween(before, cost, after));
    before = after;
  }
}

const changeUs = middleMean(added[names.length - 1]);
const rows = names.slice(0, -1).map((name, i) => {
  const cpuUs = middleMean(costs[i]);
  if (i === 0) return { name, cpuUs };
  const addedUs = middleMean(added[i]);
  const half = added[i].length >> 1;
  const halves = [added[i].slice(0, half), added[i].slice(half)].map(middleMean);
  const spreadUs = Math.max(...halves.map((mean) => Math.abs(mean - addedUs)));
  return { name, cpuUs, addedUs: addedUs - changeUs, spreadUs };
});
console.log(JSON.stringify(rows));
