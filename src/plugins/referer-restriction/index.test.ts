import assert from "node:assert/strict";
import { test } from "node:test";
import { testGateway } from "../../testing/index.ts";

function gatewayWith(config: object) {
  return testGateway({
    routes: [{ uri: "/*", plugins: { "referer-restriction": config }, upstream: { nodes: { "a:80": 1 } } }],
  });
}

const whitelist = ["*.xx.com", "yy.com"];

for (const { config, referer, status } of [
  { config: { whitelist }, referer: "http://yy.com/page", status: 200 },
  { config: { whitelist }, referer: "https://www.xx.com:8443/?a#b", status: 200 },
  { config: { whitelist }, referer: "http://YY.com", status: 200 },
  { config: { whitelist }, referer: "//yy.com", status: 200 },
  { config: { whitelist }, referer: "http://www.yy.com", status: 403 },
  { config: { whitelist }, referer: "http://yy.com.evil.org", status: 403 },
  { config: { whitelist }, referer: "http://yy.com@evil.org", status: 403 },
  { config: { whitelist }, referer: "http://evil.org/?yy.com", status: 403 },
  { config: { whitelist }, referer: undefined, status: 403 },
  { config: { whitelist }, referer: "www.yy.com", status: 403 },
  { config: { whitelist, bypass_missing: true }, referer: undefined, status: 200 },
  { config: { whitelist, bypass_missing: true }, referer: "www.yy.com", status: 200 },
  { config: { whitelist: ["*"] }, referer: "http://any.org", status: 200 },
  { config: { blacklist: ["*.xx.com"] }, referer: "http://www.XX.com/", status: 403 },
  { config: { blacklist: ["*.xx.com"] }, referer: "http://yy.com", status: 200 },
  { config: { blacklist: ["[::1]"] }, referer: "http://[::1]:80/", status: 403 },
]) {
  test(`${JSON.stringify(config)} answers ${status} to ${referer ?? "no referer"}`, async () => {
    const headers: Record<string, string> = referer === undefined ? {} : { Referer: referer };
    assert.equal((await gatewayWith(config).request({ headers })).status, status);
  });
}

test("a refusal says the configured message", async () => {
  const standard = await gatewayWith({ whitelist }).request();
  assert.deepEqual(JSON.parse(standard.text), { message: "Your referer host is not allowed" });
  const own = await gatewayWith({ whitelist, message: "Go home" }).request();
  assert.deepEqual(JSON.parse(own.text), { message: "Go home" });
});
