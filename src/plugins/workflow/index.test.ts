import assert from "node:assert/strict";
import { test } from "node:test";
import { checkPlugins } from "../../model/plugin-check.ts";
import { testGateway, type TestGateway } from "../../testing/index.ts";
import { PluginCatalog } from "../catalog.ts";

function gatewayWith(rules: object[], plugins: object = {}): TestGateway {
  return testGateway({
    routes: [{ uri: "/*", plugins: { workflow: { rules }, ...plugins }, upstream: { nodes: { "a:80": 1 } } }],
  });
}

async function statuses(gateway: TestGateway, targets: readonly string[]): Promise<number[]> {
  const got: number[] = [];
  for (const target of targets) got.push((await gateway.request({ target })).status);
  return got;
}

const count = (limit: number, more: object = {}) => [
  "limit-count",
  { count: limit, time_window: 60, key: "remote_addr", rejected_code: 429, ...more },
];
const at = (path: string) => [["uri", "==", path]];

test("return answers with its code", async () => {
  const gateway = gatewayWith([{ case: at("/no"), actions: [["return", { code: 403 }]] }]);
  const answer = await gateway.request({ target: "/no" });
  assert.equal(answer.status, 403);
  assert.deepEqual(JSON.parse(answer.text), { error_msg: "rejected by workflow" });
  assert.equal((await gateway.request({ target: "/yes" })).status, 200);
});

test("the first rule whose case holds counts; one without a case holds for all", async () => {
  const gateway = gatewayWith([
    { case: ["OR", ["arg_a", "==", "1"], ["arg_b", "==", "1"]], actions: [["return", { code: 401 }]] },
    { actions: [["return", { code: 402 }]] },
    { case: at("/"), actions: [["return", { code: 403 }]] },
  ]);
  assert.deepEqual(await statuses(gateway, ["/?a=1", "/?b=1", "/"]), [401, 401, 402]);
});

test("limits of two rules count apart, even with the same settings", async () => {
  const gateway = gatewayWith([
    { case: at("/a"), actions: [count(1)] },
    { case: at("/b"), actions: [count(1)] },
  ]);
  assert.deepEqual(
    await statuses(gateway, ["/a", "/a", "/b", "/b", "/c", "/c"]),
    [200, 429, 200, 429, 200, 200],
  );
});

test("a plugin that ran as an action does not run again where it stands on the route", async () => {
  const gateway = gatewayWith([{ case: at("/a"), actions: [count(3)] }], {
    "limit-count": { count: 1, time_window: 60, key: "remote_addr", rejected_code: 503 },
  });
  assert.deepEqual(
    await statuses(gateway, ["/a", "/a", "/a", "/a", "/b", "/b"]),
    [200, 200, 200, 429, 200, 503],
  );
});

test("limit-conn as an action gives back what a request held", async () => {
  const held = Promise.withResolvers<void>();
  const begun = Promise.withResolvers<void>();
  const gateway = testGateway({
    routes: [
      {
        uri: "/*",
        plugins: {
          workflow: {
            rules: [
              {
                actions: [
                  [
                    "limit-conn",
                    { conn: 1, burst: 0, default_conn_delay: 0.1, key: "remote_addr", rejected_code: 429 },
                  ],
                ],
              },
            ],
          },
        },
        upstream: { nodes: { "a:80": 1 } },
      },
    ],
    upstream: async ({ target }) => {
      begun.resolve();
      if (target === "/slow") await held.promise;
      return {};
    },
  });
  const slow = gateway.request({ target: "/slow" });
  await begun.promise;
  assert.equal((await gateway.request()).status, 429);
  held.resolve();
  assert.equal((await slow).status, 200);
  assert.equal((await gateway.request()).status, 200);
});

test("limit-req is an action, too", async () => {
  const action = ["limit-req", { rate: 1, burst: 0, key: "remote_addr", rejected_code: 429 }];
  assert.deepEqual(await statuses(gatewayWith([{ actions: [action] }]), ["/", "/"]), [200, 429]);
});

test("an action of a global rule counts for all routes, and passes their own instance by", async () => {
  const gateway = testGateway({
    globalRules: [{ plugins: { workflow: { rules: [{ actions: [count(2)] }] } } }],
    routes: ["/a", "/b"].map((uri) => ({
      uri,
      plugins: { "limit-count": { count: 1, time_window: 60, key: "remote_addr", rejected_code: 503 } },
      upstream: { nodes: { "a:80": 1 } },
    })),
  });
  assert.deepEqual(await statuses(gateway, ["/a", "/b", "/a"]), [200, 200, 429]);
});

test("what a global rule holds of a limit ends with the request that an action limits besides", async () => {
  const limit = (conn: number) => ({ conn, burst: 0, default_conn_delay: 0.1, key: "remote_addr" });
  const gateway = testGateway({
    globalRules: [{ plugins: { "limit-conn": limit(1) } }],
    routes: [
      {
        uri: "/*",
        plugins: { workflow: { rules: [{ actions: [["limit-conn", limit(5)]] }] } },
        upstream: { nodes: { "a:80": 1 } },
      },
    ],
  });
  assert.deepEqual(await statuses(gateway, ["/", "/", "/"]), [200, 200, 200]);
});

for (const [rules, reason] of [
  [undefined, "wrong type: expected array"],
  [[{ case: at("/") }], 'property "actions" is required'],
  [[{ actions: [] }], 'property "actions" validation failed: expect array to have at least 1 items'],
  [[{ actions: [["fault-injection", {}]] }], "unsupported action: fault-injection"],
  [
    [{ case: [["uri"], ["uri"]], actions: [["return", { code: 403 }]] }],
    "failed to validate the 'case' expression: ",
  ],
  [[{ actions: [["return", {}]] }], `failed to validate the 'return' action: property "code" is required`],
  [[{ actions: [["return", { code: "403" }]] }], "wrong type: expected integer, got string"],
  [[{ actions: [["return", { code: 600 }]] }], "expected 600 to be at most 599"],
  [[{ actions: [["return"]] }], `failed to validate the 'return' action: property "code" is required`],
  [
    [{ actions: [["limit-count", { count: 2 }]] }],
    "failed to validate the 'limit-count' action: value should match only one schema",
  ],
  [[{ actions: [["limit-count"]] }], "failed to validate the 'limit-count' action: expected an object"],
  [
    [{ actions: [count(1, { group: "g" })] }],
    "failed to validate the 'limit-count' action: group is not supported",
  ],
] as const) {
  test(`refused at write time: ${reason}`, () => {
    const error = checkPlugins({ workflow: { rules } }, "config", new PluginCatalog(null));
    assert.ok(error?.message.includes(reason), error?.message);
  });
}

test("fails closed: a configuration that cannot be compiled lets nobody through", () => {
  assert.equal(new PluginCatalog(null).get("workflow")?.failsClosed, true);
});
