/** Round-robin: the kit, exact shares in every cycle, smoothness, and staggered workers. */

import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { TriedNodes } from "../node.ts";
import { balancerOf, countPicks, nodeOf, requestFrom, testBalancer } from "./test-kit.ts";

testBalancer("roundrobin");

function sequence(weights: number[], picks: number, workerSlot = 0): string {
  const nodes = weights.map((weight, i) => nodeOf(i, weight));
  const balancer = balancerOf("roundrobin", nodes, { workerSlot });
  let text = "";
  for (let i = 0; i < picks; i++)
    text += "abcdef"[nodes.indexOf(balancer.pick(requestFrom(i), TriedNodes.NONE)!)];
  return text;
}

test("the order is nginx's smooth one", () => {
  assert.equal(sequence([5, 1, 1], 14), "aabacaaaabacaa");
  assert.equal(sequence([1, 1, 1], 6), "abcabc");
});

test("each full cycle gives every node exactly its weight, from any start", () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 2, maxLength: 8 }),
      fc.integer({ min: 0, max: 40 }),
      (weights, workerSlot) => {
        const nodes = weights.map((weight, i) => nodeOf(i, weight));
        const cycle = weights.reduce((a, b) => a + b);
        const counts = countPicks(balancerOf("roundrobin", nodes, { workerSlot }), cycle * 3);
        for (const node of nodes) assert.equal(counts.get(node), node.weight * 3);
      },
    ),
  );
});

test("workers start at different nodes", () => {
  assert.deepEqual(
    [sequence([1, 1, 1], 1, 0), sequence([1, 1, 1], 1, 1), sequence([1, 1, 1], 1, 2)],
    ["a", "b", "c"],
  );
});

test("an edit of the node list goes on where the cycle was", () => {
  const nodes = [nodeOf(0), nodeOf(1), nodeOf(2)];
  balancerOf("roundrobin", nodes).pick(requestFrom(0), TriedNodes.NONE);
  const edited = [...nodes, nodeOf(3)];
  const balancer = balancerOf("roundrobin", edited, { isFirst: false });
  const first = balancer.pick(requestFrom(1), TriedNodes.NONE);
  assert.notEqual(first, nodes[0]);
});
