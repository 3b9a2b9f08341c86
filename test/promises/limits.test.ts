/** P9: limits are exact over the workers of a node, also while other keys flood the table. */

import assert from "node:assert/strict";
import { Agent, get } from "node:http";
import { test } from "node:test";
import { namedOrigin, upstreamOf } from "./origins.ts";
import { RealNode } from "./real-node.ts";

const LIMIT = 400;
const CLIENTS = 48;
/** Longer than any run of the tests: one window. */
const WINDOW_SECONDS = 86_400;

/** Status of one request on a connection of its own, or of the agent. */
function statusOf(port: number, headers: Record<string, string>, agent: Agent | false): Promise<number> {
  return new Promise((resolve, reject) => {
    const request = get({ host: "127.0.0.1", port, path: "/limited", headers, agent }, (response) => {
      response.on("error", reject);
      response.on("end", () => resolve(response.statusCode!));
      response.resume();
    });
    request.on("error", reject);
  });
}

/** Sends `total` requests from many clients at a time, half of them with kept-alive connections. */
async function hammer(port: number, total: number, headersOf: (i: number) => Record<string, string>) {
  const agent = new Agent({ keepAlive: true, maxSockets: CLIENTS / 2 });
  const counts = new Map<number, number>();
  let next = 0;
  const client = async (connection: Agent | false) => {
    while (next < total) {
      const status = await statusOf(port, headersOf(next++), connection);
      counts.set(status, (counts.get(status) ?? 0) + 1);
    }
  };
  await Promise.all(Array.from({ length: CLIENTS }, (_, i) => client(i % 2 === 0 ? agent : false)));
  agent.destroy();
  return counts;
}

for (const workers of [2, 4]) {
  test(`P9: ${workers} workers under concurrent load let exactly the limit through`, async (t) => {
    const node = await RealNode.start(t, {
      change: (config) => {
        config.workers = workers;
        config.groups = [{ name: "default", workers }];
      },
    });
    await node.put("/routes/limited", {
      uri: "/limited",
      plugins: { "limit-count": { count: LIMIT, time_window: WINDOW_SECONDS, rejected_code: 429 } },
      upstream: upstreamOf(await namedOrigin(t, "origin")),
    });
    const counts = await hammer(node.port(), 3 * LIMIT, () => ({}));
    assert.deepEqual(Object.fromEntries(counts), { 200: LIMIT, 429: 2 * LIMIT });
    const generations = (await node.control("/v1/workers")).workers as { generation: number }[];
    assert.deepEqual(
      generations.map(({ generation }) => generation),
      Array.from({ length: workers }, () => 1),
    );
  });
}

test("P9: a flood of ten times the table's capacity in other keys does not reset an attacked key", async (t) => {
  const capacity = 1024;
  const node = await RealNode.start(t, {
    change: (config) => {
      config.memory.limitCounters = capacity;
    },
  });
  const limit = { count: 20, time_window: WINDOW_SECONDS, rejected_code: 429, key: "http_x_who" };
  await node.put("/routes/limited", {
    uri: "/limited",
    plugins: { "limit-count": limit },
    upstream: upstreamOf(await namedOrigin(t, "origin")),
  });
  const attacked = () => ({ "x-who": "attacked" });
  assert.deepEqual(Object.fromEntries(await hammer(node.port(), 60, attacked)), { 200: 20, 429: 40 });
  const flood = await hammer(node.port(), 10 * capacity, (i) => ({ "x-who": `flood-${i}` }));
  // The documented policy of the plugin for a full table: refused with 500, not counted.
  assert.deepEqual(new Set(flood.keys()), new Set([200, 500]));
  // The table rounds its capacity up to whole shards.
  assert.ok(flood.get(200)! < 1.5 * capacity, `${flood.get(200)} keys in a table of ${capacity}`);
  assert.deepEqual(Object.fromEntries(await hammer(node.port(), 60, attacked)), { 429: 60 });
});
