import assert from "node:assert/strict";
import { test } from "node:test";
import { testGateway } from "../../testing/index.ts";
import ipRestriction from "./index.ts";

function gatewayWith(config: object) {
  return testGateway({
    routes: [{ uri: "/*", plugins: { "ip-restriction": config }, upstream: { nodes: { "a:80": 1 } } }],
  });
}

for (const { config, address, status } of [
  { config: { whitelist: ["10.0.0.0/8", "::1"] }, address: "10.1.2.3", status: 200 },
  { config: { whitelist: ["10.0.0.0/8", "::1"] }, address: "::1", status: 200 },
  { config: { whitelist: ["10.0.0.0/8"] }, address: "11.1.2.3", status: 403 },
  { config: { whitelist: ["10.0.0.0/8"] }, address: "::ffff:10.0.0.1", status: 200 },
  { config: { blacklist: ["192.168.0.1"] }, address: "192.168.0.1", status: 403 },
  { config: { blacklist: ["192.168.0.1"] }, address: "192.168.0.2", status: 200 },
  { config: { blacklist: ["2001:db8::/32"], response_code: 404 }, address: "2001:db8::7", status: 404 },
]) {
  test(`${JSON.stringify(config)} answers ${status} to ${address}`, async () => {
    assert.equal((await gatewayWith(config).request({ address })).status, status);
  });
}

test("a refusal says the configured message", async () => {
  const answer = await gatewayWith({ blacklist: ["0.0.0.0/0"], message: "Do not" }).request();
  assert.deepEqual(JSON.parse(answer.text), { message: "Do not" });
});

test("an address that is none is refused at write with its text", () => {
  const config = { message: "x", response_code: 403 };
  assert.equal(
    ipRestriction.check!({ ...config, whitelist: ["10.0.0.1", "10.0.0.256"] }),
    "invalid ip address: 10.0.0.256",
  );
  assert.equal(ipRestriction.check!({ ...config, blacklist: ["10.0.0.0/8", "::/0"] }), null);
});
