/**
 * What every balancer must do, whatever its algorithm: run by the test of each. Also the small parts that
 * balancer tests are made of.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { TriedNodes, UpstreamNode } from "../node.ts";
import type { Balancer, BalanceRequest, HealthView } from "./contract.ts";
import { createBalancer, type BalancerSettings } from "./create.ts";

export function nodeOf(index: number, weight = 1, priority = 0): UpstreamNode {
  const address = `10.0.${index >> 8}.${index & 255}`;
  return new UpstreamNode(address, address, 80, weight, priority);
}

export function requestWith(variables: Record<string, string>): BalanceRequest {
  return { variable: (name) => variables[name] };
}

/** A request of which only the client's address is known: `n` gives different ones. */
export function requestFrom(n: number): BalanceRequest {
  return requestWith({ remote_addr: `192.0.${n >> 8}.${n & 255}` });
}

/** Repeatable numbers in [0, 1). */
export function randomFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

export function balancerOf(
  type: BalancerSettings["type"],
  nodes: readonly UpstreamNode[],
  settings: Partial<BalancerSettings> = {},
): Balancer {
  return createBalancer(nodes, {
    type,
    hashOn: "vars",
    key: "remote_addr",
    workerSlot: 0,
    isFirst: true,
    health: null,
    now: () => 1,
    random: randomFrom(7),
    ...settings,
  });
}

/** Health by slot: those in `down` are unhealthy. */
export function healthWithout(down: Set<number>): HealthView {
  return { isAnyDown: true, refusesWhenAllDown: false, isHealthy: (node) => !down.has(node.healthSlot) };
}

export function countPicks(balancer: Balancer, picks: number): Map<UpstreamNode, number> {
  const counts = new Map<UpstreamNode, number>();
  for (let i = 0; i < picks; i++) {
    const node = balancer.pick(requestFrom(i), TriedNodes.NONE)!;
    balancer.started(node);
    balancer.finished(node, 5, true);
    counts.set(node, (counts.get(node) ?? 0) + 1);
  }
  return counts;
}

interface Case {
  weights: number[];
  priorities: number[];
  down: boolean[];
  picks: number;
}

const cases: fc.Arbitrary<Case> = fc.integer({ min: 1, max: 12 }).chain((size) =>
  fc.record({
    weights: fc.array(fc.integer({ min: 0, max: 5 }), { minLength: size, maxLength: size }),
    priorities: fc.array(fc.integer({ min: -1, max: 1 }), { minLength: size, maxLength: size }),
    down: fc.array(fc.boolean(), { minLength: size, maxLength: size }),
    picks: fc.integer({ min: 1, max: 30 }),
  }),
);

export function testBalancer(type: BalancerSettings["type"]): void {
  test(`${type}: follows priority, weight 0 and health as the naive rules say, for every order of attempts`, () => {
    fc.assert(
      fc.property(cases, ({ weights, priorities, down, picks }) => {
        const nodes = weights.map((weight, i) => nodeOf(i, weight, priorities[i]));
        for (const [i, node] of nodes.entries()) node.healthSlot = i;
        const downSlots = new Set(down.flatMap((isDown, i) => (isDown ? [i] : [])));
        const balancer = balancerOf(type, nodes, { health: healthWithout(downSlots) });
        for (let i = 0; i < picks; i++) {
          const tried = new TriedNodes();
          for (;;) {
            const allowed = naiveChoices(type, nodes, weights, downSlots, tried);
            const picked = balancer.pick(requestFrom(i), tried);
            if (allowed.length === 0) assert.equal(picked, null);
            else
              assert.ok(
                picked !== null && allowed.includes(picked),
                `${picked?.name} is not among the allowed`,
              );
            if (picked === null || tried.has(picked)) break;
            balancer.started(picked);
            balancer.finished(picked, 3, i % 3 !== 0);
            tried.add(picked);
          }
        }
      }),
    );
  });

  test(`${type}: a sole node is given again although it was tried`, () => {
    const node = nodeOf(1);
    const tried = new TriedNodes();
    tried.add(node);
    assert.equal(balancerOf(type, [node]).pick(requestFrom(1), tried), node);
  });

  test(`${type}: no nodes give no node`, () => {
    assert.equal(balancerOf(type, []).pick(requestFrom(1), TriedNodes.NONE), null);
  });

  test(`${type}: attempts in flight are counted, and never below zero`, () => {
    const node = nodeOf(1);
    const balancer = balancerOf(type, [node, nodeOf(2)]);
    balancer.started(node);
    balancer.started(node);
    assert.equal(node.active, 2);
    for (let i = 0; i < 3; i++) balancer.finished(node, 1, true);
    assert.equal(node.active, 0);
  });
}

/** The nodes that may be picked, by the rules read one after the other. */
function naiveChoices(
  type: string,
  nodes: UpstreamNode[],
  weights: number[],
  down: Set<number>,
  tried: TriedNodes,
): UpstreamNode[] {
  const isAnyWeighted = weights.some((weight) => weight > 0);
  const used = nodes.filter((_, i) => weights[i] > 0 || (!isAnyWeighted && type !== "chash"));
  if (used.length === 1) return used;
  const isAnyHealthy = used.some((node) => !down.has(node.healthSlot));
  const usable = used.filter((node) => (!isAnyHealthy || !down.has(node.healthSlot)) && !tried.has(node));
  const top = Math.max(...usable.map((node) => node.priority));
  return usable.filter((node) => node.priority === top);
}
