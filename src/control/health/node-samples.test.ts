import assert from "node:assert/strict";
import { test } from "node:test";
import { nodeSamples } from "./node-samples.ts";

test("nodes with one address and port are one series, with the worse value", () => {
  const nodes = [
    { name: "/upstreams/1", address: "127.0.0.1", port: 80, value: 1 },
    { name: "/upstreams/1", address: "127.0.0.1", port: 80, value: 0 },
    { name: "/upstreams/1", address: "127.0.0.1", port: 81, value: 1 },
    { name: "/upstreams/2", address: "127.0.0.1", port: 80, value: 1 },
  ];
  const values = (worseOf: (one: number, other: number) => number) =>
    nodeSamples(nodes, worseOf).map(({ value }) => value);
  assert.deepEqual(values(Math.min), [0, 1, 1]);
  assert.deepEqual(values(Math.max), [1, 1, 1]);
  assert.deepEqual(nodeSamples(nodes, Math.min)[0].labels, {
    name: "/upstreams/1",
    ip: "127.0.0.1",
    port: "80",
  });
});
