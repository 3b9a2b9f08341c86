import assert from "node:assert/strict";
import { test } from "node:test";
import type { ConfigurationState } from "../../control/state.ts";
import type { AdminKeyScope } from "../../config/static-config.ts";
import { drainId } from "../../model/drain.ts";
import { upstreamType } from "../../model/upstream.ts";
import type { TakeDown } from "../../control/gateways/open.ts";
import { ClusterDrains, type DrainCall } from "./drain.ts";
import { KeyScope } from "./scope.ts";
import type { ResourceWriter } from "./writing.ts";

const NODE = { host: "10.0.0.1", port: 80 };
const PUBLISHED = JSON.stringify({ id: "1", nodes: [NODE, { ...NODE, port: 81 }], labels: { team: "b" } });

/** One upstream whose first node is drained, with something that runs there for ever. */
function bench() {
  const counts = { lists: 0 };
  const entries = new Map([
    ["upstreams 1", { published: PUBLISHED, type: upstreamType }],
    [`drains ${drainId("1", NODE.host, NODE.port)}`, { published: '{"mark":"m"}' }],
  ]);
  const state = {
    get: (plural: string, id: string) => entries.get(`${plural} ${id}`),
    plain: ({ published }: { published: string }) => JSON.parse(published) as object,
  } as unknown as ConfigurationState;
  const busy = { isDrained: false, inFlight: 1, workers: [{ worker: 0, inFlight: 1 }] };
  const takeDown = {
    drains: { state: () => Promise.resolve(busy), has: () => true },
    reports: {
      list: () => {
        counts.lists++;
        return Promise.resolve(new Map());
      },
    },
    gatewayId: "self",
  } as unknown as TakeDown;
  const writer = { write: () => assert.fail("nothing is to be written") } as unknown as ResourceWriter;
  const drains = new ClusterDrains(state, writer, takeDown);
  const call = (parts: Partial<DrainCall> = {}) => {
    const query = { wait: "drained", timeout: "3600" };
    const common = { id: "1", node: "10.0.0.1:80", author: "me", scope: null };
    return drains.handle({ method: "POST", query, isAbandoned: () => false, ...common, ...parts });
  };
  return { call, counts };
}

test("who left is not waited for", async () => {
  const { call, counts } = bench();
  let isGone = false;
  const answer = call({ isAbandoned: () => isGone });
  while (counts.lists === 0) await new Promise((resolve) => setImmediate(resolve));
  isGone = true;
  assert.equal((await answer).answer.status, 504);
});

test("many who wait ask the store as often as one", async () => {
  const { call, counts } = bench();
  const calls = Array.from({ length: 200 }, () => call({ isAbandoned: () => counts.lists >= 3 }));
  await Promise.all(calls);
  assert.ok(counts.lists < 20, String(counts.lists));
});

for (const method of ["GET", "POST", "DELETE"]) {
  test(`${method}: a limited key hears nothing of the nodes of others`, async () => {
    const { call } = bench();
    const limits = { resources: ["drains"], labels: { team: "a" }, hosts: null, uriPrefixes: null };
    const scope = new KeyScope(limits as unknown as AdminKeyScope);
    assert.equal((await call({ method, query: {}, scope })).answer.status, 403);
  });
}
