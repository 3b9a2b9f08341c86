import assert from "node:assert/strict";
import { test } from "node:test";
import { checkPlugins } from "../../model/plugin-check.ts";
import { testGateway } from "../../testing/index.ts";
import { PluginCatalog } from "../catalog.ts";

function gatewayWith(rules: object[]) {
  return testGateway({
    routes: [{ uri: "/*", plugins: { "traffic-label": { rules } }, upstream: { nodes: { "a:80": 1 } } }],
    upstream: ({ headers }) => ({
      body: `${headers.get("x-label") ?? "-"}|${headers.get("x-other") ?? "-"}`,
    }),
  });
}

const label = (name: string, more: object = {}) => ({ set_headers: { "X-Label": name }, ...more });

for (const [rules, target, expected] of [
  [[{ actions: [label("all")] }], "/", "all|-"],
  [[{ match: [["uri", "==", "/a"]], actions: [label("a")] }], "/a", "a|-"],
  [[{ match: [["uri", "==", "/a"]], actions: [label("a")] }], "/b", "-|-"],
  [[{ match: ["OR", ["arg_v", "==", "1"], ["arg_v", "==", "2"]], actions: [label("or")] }], "/?v=2", "or|-"],
  [[{ match: [["uri", "==", "/a"]], actions: [label("1")] }, { actions: [label("2")] }], "/a", "1|-"],
  [[{ actions: [label("$arg_v", { weight: 3 })] }], "/?v=x", "x|-"],
  [[{ actions: [{ weight: 1 }] }, { actions: [{ set_headers: { "X-Other": 5 } }] }], "/", "-|5"],
] as const) {
  test(`${JSON.stringify(rules)} makes ${expected} of ${target}`, async () => {
    assert.equal((await gatewayWith([...rules]).request({ target })).text, expected);
  });
}

test("a header of the client is replaced", async () => {
  const gateway = gatewayWith([{ actions: [label("gateway")] }]);
  assert.equal((await gateway.request({ headers: { "x-label": "client" } })).text, "gateway|-");
});

test("actions are taken by their weights, and one without headers does nothing", async () => {
  const gateway = gatewayWith([
    { actions: [label("a", { weight: 3 }), label("b", { weight: 5 }), { weight: 2 }] },
  ]);
  const counts: Record<string, number> = {};
  for (let i = 0; i < 100; i++) {
    const { text } = await gateway.request();
    counts[text] = (counts[text] ?? 0) + 1;
  }
  assert.deepEqual(counts, { "a|-": 30, "b|-": 50, "-|-": 20 });
});

for (const [config, reason] of [
  [{}, 'property "rules" is required'],
  [
    { rules: [{ match: [["uri", "=="], ["uri"]], actions: [{}] }] },
    "failed to validate the 'match' expression",
  ],
  [{ rules: [{ actions: [{ fault: {} }] }] }, "not supported action: fault"],
  [
    { rules: [{ actions: [{ set_headers: { "X-A": true } }] }] },
    "failed to validate the 'set_headers' action: ",
  ],
] as const) {
  test(`refused at write time: ${reason}`, () => {
    const error = checkPlugins({ "traffic-label": config }, "config", new PluginCatalog(null));
    assert.ok(error?.message.includes(reason), error?.message);
  });
}
