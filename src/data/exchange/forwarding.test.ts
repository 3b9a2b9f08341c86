/** What an upstream is told about the client, and by whom. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { definePlugin, Type } from "../../plugin/index.ts";
import { testGateway } from "../../testing/index.ts";

const CLAIMS = {
  "X-Forwarded-For": "9.9.9.9",
  "X-Forwarded-Proto": "https",
  "X-Forwarded-Host": "evil.example",
  "X-Forwarded-Port": "444",
  Forwarded: "for=9.9.9.9",
};

/** What the upstream got, and what a plugin saw before. */
async function forwarded(
  config: string,
  change: (set: (name: string, value: string) => void) => void = () => undefined,
  headers: Record<string, string> = CLAIMS,
): Promise<{ upstream: (string | undefined)[]; seen: (string | undefined)[] }> {
  let seen: (string | undefined)[] = [];
  let upstream: (string | undefined)[] = [];
  const plugin = definePlugin({
    name: "look",
    version: "1",
    priority: 1,
    config: Type.Object({}),
    compile: () => ({
      access(ctx) {
        seen = ["http_x_forwarded_for", "http_x_forwarded_proto", "original_x_forwarded_for"].map((name) =>
          ctx.variable(name),
        );
        change((name, value) => ctx.request.headers.set(name, value));
      },
    }),
  });
  const gateway = testGateway({
    config,
    plugins: [plugin],
    routes: [{ uri: "/*", plugins: { look: {} }, upstream: { nodes: { "a:80": 1 } } }],
    upstream: (request) => {
      upstream = [
        ...["for", "proto", "host", "port"].map((what) => request.headers.joined(`x-forwarded-${what}`)),
        request.headers.get("forwarded"),
      ];
      return {};
    },
  });
  await gateway.request({ host: "shop.example:8443", headers });
  return { upstream, seen };
}

test("without a trust boundary only the chain of addresses is kept of what a client claims", async () => {
  assert.deepEqual(await forwarded(""), {
    upstream: ["9.9.9.9, 127.0.0.1", "http", "shop.example:8443", "8443", undefined],
    seen: ["9.9.9.9", "http", "9.9.9.9"],
  });
});

test("a trusted peer is believed", async () => {
  assert.deepEqual(await forwarded("apisix: { trusted_addresses: [127.0.0.0/8] }"), {
    upstream: ["9.9.9.9, 127.0.0.1", "https", "evil.example", "444", "for=9.9.9.9"],
    seen: ["9.9.9.9", "https", "9.9.9.9"],
  });
});

test("of an untrusted peer nothing is believed once a boundary is configured", async () => {
  assert.deepEqual(await forwarded("apisix: { trusted_addresses: [10.0.0.0/8] }"), {
    upstream: ["127.0.0.1", "http", "shop.example:8443", "8443", undefined],
    seen: [undefined, "http", "9.9.9.9"],
  });
});

test("whoever a client claims to be, the upstream gets one X-Real-IP, and that is the address it came from", async () => {
  for (const config of ["", "apisix: { trusted_addresses: [127.0.0.0/8] }"]) {
    let told: string[] = [];
    const gateway = testGateway({
      config,
      routes: [{ uri: "/*", upstream: { nodes: { "a:80": 1 } } }],
      upstream: ({ headers }) => {
        told = headers.getAll("x-real-ip");
        return {};
      },
    });
    await gateway.request({ headers: { "X-Real-IP": "9.9.9.9" } });
    assert.deepEqual(told, ["127.0.0.1"], config);
  }
});

test("what a plugin sets goes upstream, and what it empties is left out", async () => {
  const { upstream } = await forwarded("", (set) => {
    set("X-Forwarded-Proto", "wss");
    set("X-Forwarded-Host", "");
    set("X-Forwarded-For", "7.7.7.7");
  });
  assert.deepEqual(upstream, ["7.7.7.7, 127.0.0.1", "wss", undefined, "8443", undefined]);
});

test("an empty field of a trusted peer says nothing", async () => {
  const trusting = "apisix: { trusted_addresses: [127.0.0.1] }";
  const { upstream } = await forwarded(trusting, undefined, { "X-Forwarded-Proto": "" });
  assert.deepEqual(upstream, ["127.0.0.1", "http", "shop.example:8443", "8443", undefined]);
});

test("an upstream gets the host in the letters of the client, wherever it stands, while it is matched in lower case", async () => {
  const seen: (string | undefined)[][] = [];
  const gateway = testGateway({
    routes: [{ uri: "/*", host: "shop.example", upstream: { nodes: { "a:80": 1 } } }],
    upstream: ({ headers }) => {
      seen.push([headers.get("host"), headers.get("x-forwarded-host"), headers.get("x-forwarded-port")]);
      return {};
    },
  });
  assert.equal((await gateway.request({ host: "Shop.EXAMPLE:8443" })).status, 200);
  assert.deepEqual(seen, [["Shop.EXAMPLE:8443", "Shop.EXAMPLE:8443", "8443"]]);
});
