/** Latency (`ewma`): the kit, preference for the faster node, decay, and failures that do not look fast. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { TriedNodes } from "../node.ts";
import { balancerOf, nodeOf, requestFrom, testBalancer } from "./test-kit.ts";

testBalancer("ewma");

function twoNodes(now: () => number) {
  const nodes = [nodeOf(0), nodeOf(1)];
  return { nodes, balancer: balancerOf("ewma", nodes, { now }) };
}

test("of two nodes the one with the smaller average is picked", () => {
  const { nodes, balancer } = twoNodes(() => 1_000);
  balancer.finished(nodes[0], 80, true);
  balancer.finished(nodes[1], 20, true);
  for (let i = 0; i < 20; i++) assert.equal(balancer.pick(requestFrom(i), TriedNodes.NONE), nodes[1]);
});

test("a slow node that is not used comes back as its score decays", () => {
  let now = 1_000;
  const { nodes, balancer } = twoNodes(() => now);
  balancer.finished(nodes[0], 80, true);
  for (let second = 0; second < 20; second++) {
    now += 1_000;
    balancer.finished(nodes[1], 20, true);
  }
  assert.equal(balancer.pick(requestFrom(0), TriedNodes.NONE), nodes[0]);
});

test("a node that fails at once is not taken for the fastest", () => {
  const { nodes, balancer } = twoNodes(() => 1_000);
  balancer.finished(nodes[0], 0.2, false);
  balancer.finished(nodes[1], 300, true);
  assert.equal(balancer.pick(requestFrom(0), TriedNodes.NONE), nodes[1]);
});

test("a new node starts at the mean of the others", () => {
  const nodes = [nodeOf(0), nodeOf(1)];
  const now = () => 1_000;
  const balancer = balancerOf("ewma", nodes, { now });
  balancer.finished(nodes[0], 10, true);
  balancer.finished(nodes[1], 30, true);
  const added = nodeOf(2);
  balancerOf("ewma", [...nodes, added], { now, isFirst: false });
  assert.equal(added.latencyMs, 20);
});
