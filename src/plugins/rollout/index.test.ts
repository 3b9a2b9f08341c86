import assert from "node:assert/strict";
import { test } from "node:test";
import { readTotals } from "../../control/rollouts/measurement.ts";
import { MetricReader } from "../../shared/metric-reader.ts";
import { type TestGateway, testGateway } from "../../testing/index.ts";

const UPSTREAMS = [
  { id: "old", nodes: { "10.0.0.1:80": 1 } },
  { id: "new", nodes: { "10.0.0.2:80": 1 } },
];

function gatewayWith(rollout: object, plugins: object = {}): TestGateway {
  return testGateway({
    // The static file cannot take it away.
    config: "plugins: [traffic-split, mocking]\n",
    upstreams: UPSTREAMS,
    routes: [
      {
        id: "1",
        uri: "/*",
        upstream_id: "old",
        plugins: { rollout: { rollout: "r", canary: "new", weight: 25, ...rollout }, ...plugins },
      },
    ],
    upstream: ({ node, target }) => ({
      status: target === "/fail" ? 500 : 200,
      body: node.startsWith("10.0.0.2") ? "new" : "old",
    }),
  });
}

async function shareOf(gateway: TestGateway, count: number, target = "/"): Promise<number> {
  let share = 0;
  for (let i = 0; i < count; i++) {
    const answer = await gateway.request({ target });
    if (answer.text === "new") share++;
  }
  return share;
}

test("the canary gets its share exactly, the route's own upstream the rest", async () => {
  assert.equal(await shareOf(gatewayWith({}), 400), 100);
  assert.equal(await shareOf(gatewayWith({ weight: 0 }), 50), 0);
  assert.equal(await shareOf(gatewayWith({ weight: 100 }), 50), 50);
});

test("what becomes of the requests of both is counted", async () => {
  const gateway = gatewayWith({});
  await shareOf(gateway, 40);
  await shareOf(gateway, 20, "/fail");
  const totals = (await readTotals(new MetricReader(gateway.shared.metrics))).get("r")!;
  assert.deepEqual([totals.canary.ok, totals.canary.errors], [10, 5]);
  assert.deepEqual([totals.stable.ok, totals.stable.errors], [30, 15]);
  assert.equal(
    totals.canary.latency.reduce((sum, each) => sum + each, 0),
    15,
  );
});

test("errors of gRPC count, although their status is 200", async () => {
  const counted = async (code: string) => {
    const gateway = testGateway({
      upstreams: UPSTREAMS,
      routes: [
        { uri: "/*", upstream_id: "old", plugins: { rollout: { rollout: "r", canary: "new", weight: 100 } } },
      ],
      upstream: () => ({ headers: { "grpc-status": code } }),
    });
    await gateway.request();
    return (await readTotals(new MetricReader(gateway.shared.metrics))).get("r")!.canary.errors;
  };
  assert.deepEqual([await counted("0"), await counted("5"), await counted("14")], [0, 0, 1]);
});

test("a client that is known by a header stays where it is while the share grows", async () => {
  const sticky = { header: "X-User" };
  const isCanary = async (gateway: TestGateway, user: string) => {
    const answer = await gateway.request({ headers: { "X-User": user } });
    return answer.text === "new";
  };
  const [small, large] = [gatewayWith({ sticky, weight: 20 }), gatewayWith({ sticky, weight: 60 })];
  let canaries = 0;
  for (let i = 0; i < 100; i++) {
    if (!(await isCanary(small, `user-${i}`))) continue;
    canaries++;
    assert.equal(await isCanary(large, `user-${i}`), true, `user-${i} fell back`);
  }
  assert.ok(canaries > 0 && canaries < 60, String(canaries));
});

test("without its upstream nobody goes to the canary", async () => {
  const gateway = gatewayWith({ weight: 100 });
  gateway.put("upstream", "new", null);
  assert.equal(await shareOf(gateway, 10), 0);
});

test("what traffic-split sends elsewhere is not part of the rollout", async () => {
  const rules = [{ weighted_upstreams: [{ upstream_id: "new", weight: 1 }] }];
  const gateway = gatewayWith({ weight: 0 }, { "traffic-split": { rules } });
  assert.equal(await shareOf(gateway, 10), 10);
  const totals = (await readTotals(new MetricReader(gateway.shared.metrics))).get("r")!;
  assert.equal(totals.canary.ok + totals.stable.ok, 0);
});

test("counts outlive a change of the share, and not the rollout", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const gateway = gatewayWith({ weight: 100 });
  const put = (weight: number | null) =>
    gateway.put("route", "1", {
      uri: "/*",
      upstream_id: "old",
      ...(weight !== null && { plugins: { rollout: { rollout: "r", canary: "new", weight } } }),
    });
  const counted = async () =>
    (await readTotals(new MetricReader(gateway.shared.metrics))).get("r")?.canary.ok;
  await shareOf(gateway, 5);
  put(50);
  t.mock.timers.tick(599_000);
  await shareOf(gateway, 10);
  t.mock.timers.tick(3_600_000);
  assert.equal(await counted(), 10);
  put(null);
  await shareOf(gateway, 1);
  t.mock.timers.tick(600_000);
  assert.equal(await counted(), undefined);
  put(100);
  await shareOf(gateway, 3);
  assert.equal(await counted(), 3);
});
