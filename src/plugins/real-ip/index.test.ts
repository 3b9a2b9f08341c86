import assert from "node:assert/strict";
import { test } from "node:test";
import type { PluginDefinition } from "../../plugin/definition.ts";
import { Type } from "../../plugin/index.ts";
import { testGateway } from "../../testing/index.ts";
import { parseSource } from "./source-address.ts";
import realIp from "./index.ts";

/** Address and port that later plugins see; X-Real-IP that the upstream gets. */
async function seen(
  config: object,
  headers: Record<string, string>,
  target = "/",
): Promise<[string, string, string | undefined]> {
  let address = "";
  let port = "";
  let told: string | undefined;
  const look: PluginDefinition = {
    name: "look",
    version: "1",
    priority: 1,
    config: Type.Object({}),
    compile: () => ({
      access(ctx) {
        address = ctx.variable("remote_addr")!;
        port = ctx.variable("remote_port")!;
      },
    }),
  };
  const gateway = testGateway({
    plugins: [look],
    routes: [{ uri: "/*", plugins: { "real-ip": config, look: {} }, upstream: { nodes: { "a:80": 1 } } }],
    upstream: (request) => {
      told = request.headers.get("x-real-ip");
      return {};
    },
  });
  await gateway.request({ headers, target });
  return [address, port, told];
}

const XFF = "http_x_forwarded_for";

for (const { name, config, headers, target, address, port } of [
  {
    name: "an address",
    config: { source: "http_xff" },
    headers: { XFF: "1.1.1.1" },
    address: "1.1.1.1",
    port: "",
  },
  {
    name: "address and port",
    config: { source: "http_xff" },
    headers: { XFF: "1.1.1.1:7090" },
    address: "1.1.1.1",
    port: "7090",
  },
  { name: "IPv6", config: { source: "http_xff" }, headers: { XFF: "::2" }, address: "::2", port: "" },
  {
    name: "IPv6 with a port",
    config: { source: "http_xff" },
    headers: { XFF: "[::2]:80" },
    address: "::2",
    port: "80",
  },
  {
    name: "IPv6 in brackets",
    config: { source: "http_xff" },
    headers: { XFF: "[::2]" },
    address: "::2",
    port: "",
  },
  { name: "nothing", config: { source: "http_xff" }, headers: {}, address: "127.0.0.1", port: "40000" },
  {
    name: "what is no address",
    config: { source: "http_xff" },
    headers: { XFF: "1.1.1.1.1" },
    address: "127.0.0.1",
    port: "40000",
  },
  {
    name: "a port out of range",
    config: { source: "http_xff" },
    headers: { XFF: "1.1.1.1:65536" },
    address: "127.0.0.1",
    port: "40000",
  },
  {
    name: "a query argument",
    config: { source: "arg_realip" },
    headers: {},
    target: "/?realip=1.2.3.4",
    address: "1.2.3.4",
    port: "",
  },
  {
    name: "the last of X-Forwarded-For",
    config: { source: XFF },
    headers: { "X-Forwarded-For": "::1, ::2" },
    address: "::2",
    port: "",
  },
  {
    name: "a source of a peer that is not trusted",
    config: { source: XFF, trusted_addresses: ["192.128.0.0/16"] },
    headers: { "X-Forwarded-For": "1.1.1.1" },
    address: "127.0.0.1",
    port: "40000",
  },
  {
    name: "a source of a trusted peer",
    config: { source: XFF, trusted_addresses: ["192.128.0.0/16", "127.0.0.0/24"] },
    headers: { "X-Forwarded-For": "1.1.1.1" },
    address: "1.1.1.1",
    port: "",
  },
  {
    name: "the last address that is not trusted",
    config: { source: XFF, trusted_addresses: ["192.128.0.0/16", "127.0.0.0/24"], recursive: true },
    headers: { "X-Forwarded-For": "9.9.9.9, 1.1.1.1, 192.128.1.1, 127.0.0.1" },
    address: "1.1.1.1",
    port: "",
  },
  {
    name: "the first when all are trusted",
    config: { source: XFF, trusted_addresses: ["127.0.0.0/24"], recursive: true },
    headers: { "X-Forwarded-For": "127.0.0.3,127.0.0.2" },
    address: "127.0.0.3",
    port: "",
  },
  {
    name: "a list that begins with a comma",
    config: { source: XFF, trusted_addresses: ["127.0.0.0/24"], recursive: true },
    headers: { "X-Forwarded-For": ",127.0.0.2" },
    address: "127.0.0.2",
    port: "",
  },
]) {
  test(`${name} makes the client ${address} port "${port}"`, async () => {
    const own = headers as Record<string, string>;
    assert.deepEqual(await seen(config, own, target), [address, port, address]);
  });
}

test("of several X-Forwarded-For fields the last counts", async () => {
  const headers = { "X-Forwarded-For": "::1", "x-forwarded-for": "::2" };
  assert.deepEqual(await seen({ source: XFF }, headers), ["::2", "", "::2"]);
});

test("a chain of addresses that is dropped at the node's trust boundary does not count", async () => {
  const plugins = { "real-ip": { source: XFF }, "ip-restriction": { whitelist: ["1.1.1.1"] } };
  const gateway = testGateway({
    config: "apisix: { trusted_addresses: [192.128.0.0/16] }",
    routes: [{ uri: "/*", plugins, upstream: { nodes: { "a:80": 1 } } }],
  });
  assert.equal((await gateway.request({ headers: { "X-Forwarded-For": "1.1.1.1" } })).status, 403);
});

test("the plugins after it decide by the new address", async () => {
  const gateway = testGateway({
    routes: [
      {
        uri: "/*",
        plugins: { "real-ip": { source: "http_xff" }, "ip-restriction": { whitelist: ["1.1.1.1"] } },
        upstream: { nodes: { "a:80": 1 } },
      },
    ],
  });
  assert.equal((await gateway.request({ headers: { XFF: "1.1.1.1" } })).status, 200);
  assert.equal((await gateway.request()).status, 403);
});

test("what is no address is refused at write", () => {
  const config = { source: "http_xff", recursive: false };
  assert.equal(realIp.check!({ ...config, trusted_addresses: ["::1/129"] }), "invalid ip address: ::1/129");
  assert.equal(realIp.check!({ ...config, trusted_addresses: ["::1/128", "10.0.0.0/8"] }), null);
});

for (const text of [
  "",
  ":",
  "[",
  "[]",
  "[1.1.1.1]",
  "::1:80x",
  "1.1.1.1:",
  "1.1.1.1:0",
  "a:80",
  "[::1]80",
  "[::1]:",
]) {
  test(`${JSON.stringify(text)} is no address`, () => assert.equal(parseSource(text), null));
}
