/** Least connections: the kit, and the choice against a naive minimum. */

import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { TriedNodes } from "../node.ts";
import { balancerOf, countPicks, nodeOf, requestFrom, testBalancer } from "./test-kit.ts";

testBalancer("least_conn");

test("the pick always has the smallest (active + 1) / weight", () => {
  const steps = fc.array(fc.tuple(fc.boolean(), fc.nat(50)), { maxLength: 200 });
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 2, maxLength: 8 }),
      steps,
      (weights, steps) => {
        const nodes = weights.map((weight, i) => nodeOf(i, weight));
        const balancer = balancerOf("least_conn", nodes);
        const running: ReturnType<typeof balancer.pick>[] = [];
        for (const [isStart, which] of steps) {
          if (isStart || running.length === 0) {
            const node = balancer.pick(requestFrom(0), TriedNodes.NONE)!;
            const least = Math.min(...nodes.map((other) => (other.active + 1) / other.weight));
            assert.equal((node.active + 1) / node.weight, least);
            balancer.started(node);
            running.push(node);
          } else {
            balancer.finished(running.splice(which % running.length, 1)[0]!, 1, true);
          }
        }
        for (const node of nodes) assert.equal(node.active, running.filter((other) => other === node).length);
      },
    ),
  );
});

test("an idle upstream uses its nodes in turn", () => {
  const nodes = [nodeOf(0), nodeOf(1), nodeOf(2)];
  const counts = countPicks(balancerOf("least_conn", nodes), 300);
  for (const node of nodes) assert.equal(counts.get(node), 100);
});

test("attempts that began before an edit still count after it", () => {
  const nodes = [nodeOf(0), nodeOf(1)];
  balancerOf("least_conn", nodes).started(nodes[0]);
  const edited = balancerOf("least_conn", [...nodes, nodeOf(2)], { isFirst: false });
  const counts = countPicks(edited, 100);
  assert.equal(counts.get(nodes[0]), undefined);
});
