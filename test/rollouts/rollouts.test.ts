/** Rollouts on a whole node: real requests make the steps and the way back, and a restart changes nothing. */

import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { test, type TestContext } from "node:test";
import { RealNode } from "../promises/real-node.ts";

const LOOK_AGAIN_MS = 50;

async function origin(t: TestContext, answer: () => { status: number; body: string }): Promise<string> {
  const server = createServer((_request, response) => {
    const { status, body } = answer();
    response.writeHead(status).end(body);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    server.close();
    server.closeAllConnections();
  });
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** Two upstreams, a route to the old one, and a rollout of the new one. */
async function prepared(
  t: TestContext,
  node: RealNode,
  rollout: object,
  newStatus = () => 200,
): Promise<void> {
  const old = await origin(t, () => ({ status: 200, body: "old" }));
  const fresh = await origin(t, () => ({ status: newStatus(), body: "new" }));
  await node.put("/upstreams/old", { nodes: { [old]: 1 } });
  await node.put("/upstreams/new", { nodes: { [fresh]: 1 } });
  await node.put("/routes/1", { uri: "/*", upstream_id: "old" });
  await node.put("/rollouts/r", { route_id: "1", canary: { upstream_id: "new" }, ...rollout });
}

// oxlint-disable-next-line typescript/no-explicit-any -- what the Control API shows
async function until(node: RealNode, isSo: (shown: any) => boolean, meanwhile?: () => Promise<unknown>) {
  for (;;) {
    const shown = await node.control("/v1/rollouts/r");
    if (isSo(shown)) return shown;
    await (meanwhile?.() ?? new Promise((resolve) => setTimeout(resolve, LOOK_AGAIN_MS)));
  }
}

/** What control has decided by now is on every worker. */
async function settle(node: RealNode): Promise<void> {
  await node.put("/upstreams/settled", { nodes: { "127.0.0.1:1": 1 } });
}

async function newOnes(node: RealNode, count: number): Promise<number> {
  let found = 0;
  for (let i = 0; i < count; i++) if ((await node.get("/")).text === "new") found++;
  return found;
}

test("requests carry a rollout through its steps to the end, with exact shares, over a restart", async (t) => {
  const node = await RealNode.start(t);
  const steps = [
    { weight: 20, requests: 10 },
    { weight: 50, requests: 100_000 },
  ];
  // Paused, so that no step comes between the requests that are counted.
  await prepared(t, node, { steps, action: "pause" });
  await until(node, ({ weight }) => weight === 20);
  await settle(node);
  assert.equal(await newOnes(node, 100), 20);
  assert.equal((await node.admin("PATCH", "/rollouts/r", { action: "run" })).status, 200);
  await until(
    node,
    ({ step }) => step === 2,
    () => newOnes(node, 10),
  );
  await settle(node);
  assert.equal(await newOnes(node, 100), 50);
  await node.stop();

  const again = await RealNode.start(t, { folder: node.folder });
  assert.equal(await newOnes(again, 40), 20, "the share is there before anybody drives");
  assert.partialDeepStrictEqual(
    await until(
      again,
      ({ requests }) => requests > 0,
      () => newOnes(again, 10),
    ),
    {
      state: "running",
      step: 2,
      drives: true,
    },
  );
  const { text } = await again.get("/"); // any
  assert.match(text, /^(old|new)$/);
  const page = await (await fetch(`${again.url("metrics")}/apisix/prometheus/metrics`)).text();
  assert.match(page, /^apisix_rollout_weight\{rollout="r"\} 50$/m);
  assert.match(page, /^apisix_rollout_requests_total\{rollout="r",variant="canary",outcome="ok"\} \d+$/m);
  assert.equal((await again.admin("PATCH", "/rollouts/r", { action: "promote" })).status, 200);
  assert.equal(await newOnes(again, 20), 20);
  const progress = (await again.admin("GET", "/rollouts/r/progress/r")).body.value;
  assert.equal(progress.step, 1);
});

test("a canary that fails gets no more requests, and nothing takes it further", async (t) => {
  const node = await RealNode.start(t);
  const rollback = { error_percent: 10, min_requests: 10 };
  await prepared(t, node, { steps: [{ weight: 50, duration: 3600 }], rollback }, () => 500);
  await until(node, ({ weight }) => weight === 50);
  const shown = await until(
    node,
    ({ state }) => state === "rolled_back",
    () => newOnes(node, 10),
  );
  assert.equal(shown.weight, 0);
  await settle(node);
  assert.match(shown.reason, /^100 per cent of \d+ requests failed, more than 10$/);
  assert.equal(await newOnes(node, 50), 0);
});
