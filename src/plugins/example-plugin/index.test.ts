import assert from "node:assert/strict";
import { test } from "node:test";
import { testGateway } from "../../testing/index.ts";
import examplePlugin from "./index.ts";

function gatewayWith(config: object) {
  return testGateway({
    routes: [{ uri: "/*", plugins: { "example-plugin": config }, upstream: { nodes: { "10.0.0.1:80": 1 } } }],
    upstream: ({ node }) => ({ body: node }),
  });
}

test("without ip the request goes where the route says", async () => {
  assert.equal((await gatewayWith({ i: 1, s: "x", t: [1, "two"] }).request()).text, "10.0.0.1:80");
});

test("with ip and port the request goes there", async () => {
  assert.equal((await gatewayWith({ i: 1, ip: "10.0.0.2", port: 8080 }).request()).text, "10.0.0.2:8080");
});

for (const [config, message] of [
  [{ i: 1, ip: "10.0.0.2" }, "port: given none, expected a port from 1 to 65535, since ip is given"],
  [{ i: 1, ip: "10.0.0.2", port: 0 }, "port: given 0, expected a port from 1 to 65535, since ip is given"],
  [{ i: 1, ip: "", port: 80 }, "ip: given an empty text, expected an address or a name"],
  [{ i: 1, port: 0 }, null],
] as const) {
  test(`${JSON.stringify(config)} is ${message === null ? "taken" : "refused"}`, () => {
    assert.equal(examplePlugin.check!({ ...config }), message);
  });
}
