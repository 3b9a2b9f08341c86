import assert from "node:assert/strict";
import { test } from "node:test";
import { testGateway, type TestGateway, type TestRequest } from "../../testing/index.ts";
import { checkPlugins } from "../../model/plugin-check.ts";
import { PluginCatalog } from "../catalog.ts";

function gatewayWith(config: object, upstreams: Record<string, unknown>[] = []): TestGateway {
  return testGateway({
    upstreams,
    routes: [{ uri: "/*", plugins: { "traffic-split": config }, upstream: { nodes: { "own:80": 1 } } }],
    upstream: ({ node, headers }) => ({ body: `${node} ${headers.get("host")}` }),
  });
}

async function nodesOf(
  gateway: TestGateway,
  requests: number,
  request?: TestRequest,
): Promise<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (let i = 0; i < requests; i++) {
    const [node] = (await gateway.request(request)).text.split(" ");
    counts[node] = (counts[node] ?? 0) + 1;
  }
  return counts;
}

function inline(node: string, weight: number, more: object = {}): object {
  return { upstream: { nodes: { [node]: 1 }, type: "roundrobin", ...more }, weight };
}

test("requests are shared out by weight among inline, referenced and the route's own upstream", async () => {
  const rules = [{ weighted_upstreams: [inline("a:80", 3), { upstream_id: "b", weight: 1 }, { weight: 2 }] }];
  const gateway = gatewayWith({ rules }, [{ id: "b", nodes: { "b:80": 1 } }]);
  assert.deepEqual(await nodesOf(gateway, 60), { "a:80": 30, "b:80": 10, "own:80": 20 });
});

test("shares are within half a point of the weights over 100,000 requests", async () => {
  const gateway = gatewayWith({ rules: [{ weighted_upstreams: [inline("a:80", 37), { weight: 63 }] }] });
  const { "a:80": canary } = await nodesOf(gateway, 100_000);
  assert.ok(Math.abs(canary / 100_000 - 0.37) <= 0.005, String(canary));
});

test("the first rule that matches counts; where none does, the route's own upstream stays", async () => {
  const gateway = gatewayWith({
    rules: [
      {
        match: [{ vars: [["arg_v", "==", "1"]] }, { vars: [["http_x_new", "==", "yes"]] }],
        weighted_upstreams: [inline("a:80", 1)],
      },
      { match: [{ vars: [["arg_v", "==", "2"]] }], weighted_upstreams: [inline("b:80", 1)] },
    ],
  });
  assert.deepEqual(await nodesOf(gateway, 2, { target: "/?v=1" }), { "a:80": 2 });
  assert.deepEqual(await nodesOf(gateway, 1, { target: "/?v=2", headers: { "X-New": "yes" } }), {
    "a:80": 1,
  });
  assert.deepEqual(await nodesOf(gateway, 2, { target: "/?v=2" }), { "b:80": 2 });
  assert.deepEqual(await nodesOf(gateway, 2), { "own:80": 2 });
});

test("an entry without weight gets nothing, and with no weight at all the route's own upstream stays", async () => {
  assert.deepEqual(
    await nodesOf(
      gatewayWith({ rules: [{ weighted_upstreams: [inline("a:80", 0), inline("b:80", 1)] }] }),
      4,
    ),
    { "b:80": 4 },
  );
  assert.deepEqual(await nodesOf(gatewayWith({ rules: [{ weighted_upstreams: [inline("a:80", 0)] }] }), 2), {
    "own:80": 2,
  });
});

test("the chosen upstream says which Host goes to it", async () => {
  const gateway = gatewayWith({
    rules: [{ weighted_upstreams: [inline("a:80", 1, { pass_host: "node" })] }],
  });
  assert.equal((await gateway.request({ host: "client.example" })).text, "a:80 a:80");
});

test("an upstream that does not exist answers 500 and names it, until it does", async () => {
  const gateway = gatewayWith({ rules: [{ weighted_upstreams: [{ upstream_id: 7, weight: 1 }] }] });
  const answer = await gateway.request();
  assert.equal(answer.status, 500);
  assert.equal(answer.text, "failed to fetch upstream info by upstream id: 7");
  gateway.put("upstream", "7", { nodes: { "c:80": 1 } });
  assert.deepEqual(await nodesOf(gateway, 1), { "c:80": 1 });
});

test("sticky by cookie: a client stays, new clients are shared out by weight", async () => {
  const gateway = gatewayWith({
    rules: [
      { weighted_upstreams: [inline("a:80", 1), { weight: 1 }], sticky: { cookie: "canary", max_age: 60 } },
    ],
  });
  const counts: Record<string, number> = {};
  for (let client = 0; client < 40; client++) {
    const first = await gateway.request();
    const cookie = first.headers.get("set-cookie")!;
    assert.match(cookie, /^canary=[0-9a-f]{8}; Path=\/; HttpOnly; SameSite=Lax; Max-Age=60$/);
    const node = first.text.split(" ")[0];
    counts[node] = (counts[node] ?? 0) + 1;
    const again = await gateway.request({ headers: { Cookie: `a=b; ${cookie.split(";", 1)[0]}` } });
    assert.equal(again.text.split(" ")[0], node);
    assert.equal(again.headers.get("set-cookie"), undefined);
  }
  assert.ok(Math.abs(counts["a:80"] - 20) <= 2, String(counts["a:80"]));
  assert.match(
    (await gateway.request({ headers: { Cookie: "canary=zzz" } })).headers.get("set-cookie")!,
    /^canary=/,
  );
});

test("sticky by header: one value goes to one upstream, many values by weight", async () => {
  const gateway = gatewayWith({
    rules: [{ weighted_upstreams: [inline("a:80", 1), { weight: 3 }], sticky: { header: "X-User" } }],
  });
  assert.equal(Object.keys(await nodesOf(gateway, 8, { headers: { "X-User": "jack" } })).length, 1);
  let canary = 0;
  for (let user = 0; user < 2000; user++) {
    if ((await gateway.request({ headers: { "X-User": `user-${user}` } })).text.startsWith("a:80")) canary++;
  }
  assert.ok(Math.abs(canary - 500) < 80, String(canary));
});

for (const [config, reason] of [
  [
    { rules: [{ match: [{ vars: [["a"]] }], weighted_upstreams: [{ weight: 1 }] }] },
    /^failed to check the configuration of plugin traffic-split err: failed to validate the 'vars' expression: /,
  ],
  [{ rules: [{ weighted_upstreams: [{ weight: -1 }] }] }, /expected -1 to be at least 0/],
  [{ rules: [{ weighted_upstreams: [] }] }, /weighted_upstreams/],
  [{ rules: [{ weighted_upstreams: [{ upstream: { type: "roundrobin" } }] }] }, /upstream/],
  [
    { rules: [{ weighted_upstreams: [inline("a:80", 1, { pass_host: "rewrite" })] }] },
    /`upstream_host` can't be empty/,
  ],
  [
    { rules: [{ weighted_upstreams: [{ weight: 1 }], sticky: {} }] },
    /sticky: expected either cookie or header/,
  ],
] as const) {
  test(`refused at write time: ${JSON.stringify(config)}`, () => {
    const error = checkPlugins({ "traffic-split": config }, "config", new PluginCatalog(null));
    assert.match(error?.message ?? "", reason);
  });
}
