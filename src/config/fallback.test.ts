import assert from "node:assert/strict";
import { test } from "node:test";
import { parseStaticConfig } from "./load.ts";

function fallbackOf(text: string) {
  return parseStaticConfig("config.yaml", `cardea: { fallback: ${text} }`, {}).config.fallback;
}

test("without the key, there is none", () => {
  assert.equal(parseStaticConfig("config.yaml", "", {}).config.fallback, null);
});

test("nodes are names or addresses with a port, in turn", () => {
  assert.deepEqual(fallbackOf("{ nodes: ['Old.example:8080', '[::1]:80'] }"), {
    nodes: [
      { host: "old.example", port: 8080, weight: 1, priority: 0 },
      { host: "::1", port: 80, weight: 1, priority: 0 },
    ],
    scheme: "http",
    type: "roundrobin",
    hash_on: "vars",
    pass_host: "pass",
  });
});

test("the Host can be another", () => {
  const fallback = fallbackOf("{ nodes: ['a:80'], pass_host: rewrite, upstream_host: old.example }");
  assert.equal(fallback?.pass_host, "rewrite");
  assert.equal(fallback?.upstream_host, "old.example");
});

for (const [text, reason] of [
  ["{}", /fallback/],
  ["{ nodes: [] }", /nodes/],
  ["{ nodes: [a] }", /expected a host and a port/],
  ["{ nodes: ['a:0'] }", /expected a port \(1\.\.65535\)/],
  ["{ nodes: ['a:80'], scheme: grpc }", /http/],
  ["{ nodes: ['a:80'], pass_host: rewrite }", /expected upstream_host/],
] as const) {
  test(`refused: ${text}`, () => {
    assert.throws(() => fallbackOf(text), reason);
  });
}
