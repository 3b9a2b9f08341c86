import assert from "node:assert/strict";
import { test } from "node:test";
import { HeaderList } from "../../plugin/index.ts";
import { testGateway } from "../../testing/index.ts";
import uaRestriction from "./index.ts";

function gatewayWith(config: object) {
  return testGateway({
    routes: [{ uri: "/*", plugins: { "ua-restriction": config }, upstream: { nodes: { "a:80": 1 } } }],
  });
}

for (const { config, agent, status } of [
  { config: { allowlist: ["my-bot1", "(Baiduspider)/(\\d+)\\.(\\d+)"] }, agent: "my-bot1", status: 200 },
  {
    config: { allowlist: ["my-bot1", "(Baiduspider)/(\\d+)\\.(\\d+)"] },
    agent: "Baiduspider/2.0",
    status: 200,
  },
  { config: { allowlist: ["my-bot1"] }, agent: "my-bot2", status: 403 },
  { config: { allowlist: ["^my-bot1$"] }, agent: " my-bot1 ", status: 200 },
  { config: { denylist: ["my-bot2", "(Twitterspider)/"] }, agent: "Twitterspider/2.0", status: 403 },
  { config: { denylist: ["my-bot2"] }, agent: "my-bot1", status: 200 },
  { config: { denylist: ["my-bot2"] }, agent: undefined, status: 403 },
  { config: { denylist: ["my-bot2"], bypass_missing: true }, agent: undefined, status: 200 },
  { config: { allowlist: ["my-bot2"], bypass_missing: true }, agent: undefined, status: 200 },
  { config: { allowlist: ["(a+)(?=b)c"] }, agent: "a".repeat(5000), status: 403 },
  { config: { denylist: ["(a+)(?=b)c"] }, agent: "a".repeat(5000), status: 403 },
]) {
  test(`${JSON.stringify(config)} answers ${status} to ${agent?.slice(0, 20) ?? "no user agent"}`, async () => {
    const headers: Record<string, string> = agent === undefined ? {} : { "User-Agent": agent };
    assert.equal((await gatewayWith(config).request({ headers })).status, status);
  });
}

test("of several headers one is enough", async () => {
  const twice = new HeaderList();
  const access = (config: object) => {
    const handlers = uaRestriction.compile({ bypass_missing: false, message: "no", ...config }, undefined!);
    const ctx = { request: { headers: twice }, answer: (status: number) => ({ status }) };
    return handlers.access!(ctx as never) as { status: number } | undefined;
  };
  twice.add("User-Agent", "good");
  twice.add("User-Agent", "bad");
  assert.equal(access({ allowlist: ["bad"] }), undefined);
  assert.equal(access({ denylist: ["bad"] })?.status, 403);
  assert.equal(access({ denylist: ["worse"] }), undefined);
});

test("a refusal says the configured message", async () => {
  const standard = await gatewayWith({ denylist: ["."] }).request({ headers: { "User-Agent": "x" } });
  assert.deepEqual(JSON.parse(standard.text), { message: "Not allowed" });
  const own = await gatewayWith({ denylist: ["."], message: "Away" }).request();
  assert.deepEqual(JSON.parse(own.text), { message: "Away" });
});

test("patterns that cannot be used are refused at write", () => {
  const valid = { bypass_missing: false, message: "no" };
  assert.equal(uaRestriction.check!({ ...valid, allowlist: ["a"] }), null);
  assert.match(uaRestriction.check!({ ...valid, allowlist: ["a", "(b"] })!, /"\(b"/);
  assert.match(uaRestriction.check!({ ...valid, denylist: ["(b"] })!, /"\(b"/);
});
