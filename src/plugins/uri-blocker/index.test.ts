import assert from "node:assert/strict";
import { test } from "node:test";
import { testGateway } from "../../testing/index.ts";
import uriBlocker from "./index.ts";

function gatewayWith(config: object) {
  return testGateway({
    routes: [{ uri: "/*", plugins: { "uri-blocker": config }, upstream: { nodes: { "a:80": 1 } } }],
  });
}

for (const { config, target, status } of [
  { config: { block_rules: ["root.exe", "root.m+"] }, target: "/root.exe?a", status: 403 },
  { config: { block_rules: ["root.exe", "root.m+"] }, target: "/x?y=root.mm", status: 403 },
  { config: { block_rules: ["root.exe"] }, target: "/root", status: 200 },
  { config: { block_rules: ["^/internal/"] }, target: "/./internal/x", status: 403 },
  { config: { block_rules: ["^/internal/"] }, target: "/%69nternal/x", status: 403 },
  { config: { block_rules: ["AA"] }, target: "/aa", status: 200 },
  { config: { block_rules: ["AA"], case_insensitive: true }, target: "/aa", status: 403 },
  { config: { block_rules: ["(?i)x", "AA"] }, target: "/aa", status: 403 },
  { config: { block_rules: ["a"], rejected_code: 404 }, target: "/a", status: 404 },
]) {
  test(`${JSON.stringify(config)} answers ${status} to ${target}`, async () => {
    assert.equal((await gatewayWith(config).request({ target })).status, status);
  });
}

test("a refusal has no body, or the configured message", async () => {
  assert.equal((await gatewayWith({ block_rules: ["a"] }).request({ target: "/a" })).text, "");
  const answer = await gatewayWith({ block_rules: ["a"], rejected_msg: "no" }).request({ target: "/a" });
  assert.deepEqual(JSON.parse(answer.text), { error_msg: "no" });
});

test("a target too long for a pattern is refused", async () => {
  const gateway = gatewayWith({ block_rules: ["(a+)(?=b)c"] });
  assert.equal((await gateway.request({ target: `/${"a".repeat(5000)}` })).status, 403);
});

test("patterns and statuses that cannot be used are refused at write", () => {
  const valid = { block_rules: ["^a", "^b"], rejected_code: 403, case_insensitive: false };
  assert.equal(uriBlocker.check!(valid), null);
  assert.match(uriBlocker.check!({ ...valid, block_rules: ["^a", "^b("] })!, /"\^b\("/);
  assert.match(uriBlocker.check!({ ...valid, rejected_code: 1000 })!, /rejected_code/);
});
