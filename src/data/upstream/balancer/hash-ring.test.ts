/** The hash ring: the kit, a naive twin, stability under edits, shares by weight, and every `hash_on`. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { crc32 as zlibCrc32 } from "node:zlib";
import * as fc from "fast-check";
import type { PublishedUpstream } from "../../../model/published.ts";
import { TriedNodes, type UpstreamNode } from "../node.ts";
import { crc32 } from "./crc32.ts";
import { HashKey } from "./hash-key.ts";
import { balancerOf, countPicks, nodeOf, requestFrom, requestWith, testBalancer } from "./test-kit.ts";

testBalancer("chash");

/** The ring as the definition says it, with zlib's CRC-32 and a linear scan. */
function naivePick(nodes: UpstreamNode[], units: number[], key: string): UpstreamNode {
  const points: { hash: number; index: number }[] = [];
  for (const [index, node] of nodes.entries()) {
    const base = Buffer.from(`${node.address}\0${node.port}`);
    let hash = 0;
    for (let i = 0; i < units[index] * 160; i++) {
      const previous = Buffer.alloc(4);
      previous.writeUInt32LE(hash);
      hash = zlibCrc32(Buffer.concat([base, previous]));
      points.push({ hash, index });
    }
  }
  points.sort((a, b) => a.hash - b.hash || a.index - b.index);
  const wanted = zlibCrc32(key);
  return nodes[(points.find((point) => point.hash >= wanted) ?? points[0]).index];
}

test("the checksum is zlib's", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary-ascii" }), (text) => assert.equal(crc32(text), zlibCrc32(text))),
  );
});

test("every key goes where the naive ring sends it; weights are divided by their common divisor", () => {
  const nodes = [nodeOf(1, 10), nodeOf(2, 20), nodeOf(3, 30)];
  const balancer = balancerOf("chash", nodes, { key: "uri" });
  for (let i = 0; i < 300; i++) {
    const uri = `/item/${i}`;
    assert.equal(balancer.pick(requestWith({ uri }), TriedNodes.NONE), naivePick(nodes, [1, 2, 3], uri));
  }
});

test("a node that leaves moves only its own keys", () => {
  const nodes = [nodeOf(1), nodeOf(2), nodeOf(3), nodeOf(4)];
  const before = balancerOf("chash", nodes);
  const after = balancerOf("chash", nodes.slice(1), { isFirst: false });
  for (let i = 0; i < 2_000; i++) {
    const was = before.pick(requestFrom(i), TriedNodes.NONE);
    if (was !== nodes[0]) assert.equal(after.pick(requestFrom(i), TriedNodes.NONE), was);
  }
});

test("a retry goes where the key would go without the tried node", () => {
  const nodes = [nodeOf(1), nodeOf(2), nodeOf(3)];
  const balancer = balancerOf("chash", nodes);
  for (let i = 0; i < 500; i++) {
    const tried = new TriedNodes();
    const first = balancer.pick(requestFrom(i), tried)!;
    tried.add(first);
    const others = nodes.filter((node) => node !== first);
    const expected = balancerOf("chash", others).pick(requestFrom(i), TriedNodes.NONE);
    assert.equal(balancer.pick(requestFrom(i), tried), expected);
  }
});

test("shares follow the weights within a quarter", () => {
  const nodes = [nodeOf(1, 1), nodeOf(2, 2), nodeOf(3, 5)];
  const counts = countPicks(balancerOf("chash", nodes), 20_000);
  for (const node of nodes) {
    const expected = (20_000 * node.weight) / 8;
    assert.ok(Math.abs(counts.get(node)! - expected) < expected / 4, `${node.name}: ${counts.get(node)}`);
  }
});

test("huge coprime weights do not make a huge ring", () => {
  const nodes = [nodeOf(1, 1_000_003), nodeOf(2, 999_983), nodeOf(3, 1)];
  const counts = countPicks(balancerOf("chash", nodes), 10_000);
  assert.ok(counts.get(nodes[0])! > 4_000 && counts.get(nodes[1])! > 4_000);
});

const client = { remote_addr: "192.0.2.1" };
const hashKeys: [PublishedUpstream["hash_on"], string | undefined, Record<string, string>, string][] = [
  ["vars", "uri", { uri: "/a" }, "/a"],
  ["vars", undefined, {}, "192.0.2.1"],
  ["vars", "arg_x", {}, "192.0.2.1"],
  ["vars", "arg_x", { arg_x: "" }, "192.0.2.1"],
  ["header", "X-Session-Id", { http_x_session_id: "s" }, "s"],
  ["cookie", "Sid", { cookie_Sid: "c" }, "c"],
  ["consumer", undefined, { consumer_name: "jack" }, "jack"],
  ["consumer", undefined, {}, "192.0.2.1"],
  ["vars_combinations", "$uri-${arg_x}.", { uri: "/a", arg_x: "1" }, "/a-1."],
  ["vars_combinations", "$uri-$arg_x", { uri: "/a" }, "/a-"],
  ["vars_combinations", "$arg_y-$arg_x", {}, "192.0.2.1"],
  ["vars_combinations", "constant", {}, "192.0.2.1"],
];

for (const [hashOn, key, variables, expected] of hashKeys) {
  test(`hash_on ${hashOn} with key ${key} of ${JSON.stringify(variables)} is ${expected}`, () => {
    assert.equal(new HashKey(hashOn, key).of(requestWith({ ...client, ...variables })), expected);
  });
}
