/** Zones in the order that an upstream says, their fail-over and their way back. */

import assert from "node:assert/strict";
import { test } from "node:test";
import type { ZoneSettings } from "../../../model/upstream-zones.ts";
import { TriedNodes, UpstreamNode } from "../node.ts";
import type { Balancer } from "./contract.ts";
import { balancerOf, randomFrom, requestFrom } from "./test-kit.ts";
import { type ZoneHealth, ZoneOrder } from "./zones.ts";

const DEFAULTS: ZoneSettings = { order: ["local"], strict: false, min_healthy_percent: 0, fail_back: 0 };

class Health implements ZoneHealth {
  isAnyDown = false;
  isPanic = false;
  refusesWhenAllDown = false;
  version = 0;
  nowMs = 1000;
  readonly backAt = new Map<UpstreamNode, number>();

  isHealthy(node: UpstreamNode): boolean {
    return !node.isDown;
  }

  upSince(node: UpstreamNode): number {
    return this.backAt.get(node) ?? 0;
  }

  now(): number {
    return this.nowMs;
  }

  set(nodes: readonly UpstreamNode[], isDown: boolean): void {
    for (const node of nodes) {
      node.isDown = isDown;
      if (!isDown) this.backAt.set(node, this.nowMs);
    }
    this.isAnyDown = isDown;
    this.version++;
  }
}

let made = 0;

function nodesIn(zone: string, count: number, priority = 0): UpstreamNode[] {
  return Array.from({ length: count }, () => {
    const address = `10.1.${made >> 8}.${made++ & 255}`;
    const node = new UpstreamNode(address, address, 80, 1, priority);
    node.zone = zone;
    return node;
  });
}

function balancer(
  nodes: UpstreamNode[],
  settings: Partial<ZoneSettings>,
  health: Health | null = null,
  own: string | null = "a",
): Balancer {
  const order = new ZoneOrder({ ...DEFAULTS, ...settings }, own);
  return balancerOf("roundrobin", nodes, { health, zones: { order, health }, random: randomFrom(3) });
}

/** Share of each zone, in per cent of so many picks. */
function shares(of: Balancer, picks = 2000): Record<string, number> {
  const counts: Record<string, number> = {};
  for (let i = 0; i < picks; i++) {
    const zone = of.pick(requestFrom(i), TriedNodes.NONE)?.zone ?? "-";
    counts[zone] = (counts[zone] ?? 0) + 1;
  }
  for (const zone of Object.keys(counts)) counts[zone] = Math.round((100 * counts[zone]) / picks);
  return counts;
}

test("the gateway's own zone serves, and the others only when nothing of it is left to try", () => {
  const [a, b] = [nodesIn("a", 2), nodesIn("b", 2)];
  const health = new Health();
  const local = balancer([...b, ...a], {}, health);
  assert.deepEqual(shares(local), { a: 100 });
  const tried = new TriedNodes();
  for (const node of a) tried.add(node);
  assert.equal(local.pick(requestFrom(1), tried)?.zone, "b");
  health.set(a, true);
  assert.deepEqual(shares(local), { b: 100 });
});

test("zones that are not named share what is left, and without a zone of its own a gateway has no preference", () => {
  const nodes = [...nodesIn("b", 1), ...nodesIn("c", 1), ...nodesIn("", 2)];
  assert.deepEqual(shares(balancer(nodes, {})), { b: 25, c: 25, "": 50 });
  assert.deepEqual(shares(balancer([...nodes, ...nodesIn("a", 4)], {}, null, null)), {
    a: 50,
    b: 13,
    c: 13,
    "": 25,
  });
});

test("zones serve in the order that is given, below priority", () => {
  const health = new Health();
  const [a, b, c] = [nodesIn("a", 1), nodesIn("b", 1), nodesIn("c", 1)];
  const standby = nodesIn("a", 1, -1);
  const ordered = balancer([...standby, ...a, ...b, ...c], { order: ["b", "local", "c"] }, health);
  for (const [zone, down] of [
    ["b", []],
    ["a", b],
    ["c", [...b, ...a]],
    ["a", [...b, ...a, ...c]],
  ] as const) {
    health.set(down, true);
    assert.deepEqual(shares(ordered), { [zone]: 100 });
  }
  assert.equal(ordered.pick(requestFrom(1), TriedNodes.NONE), standby[0]);
});

test("strict lets no other zone serve", () => {
  const health = new Health();
  const [a, b] = [nodesIn("a", 2), nodesIn("b", 2)];
  const strict = balancer([...a, ...b], { strict: true }, health);
  const tried = new TriedNodes();
  for (const node of a) tried.add(node);
  assert.equal(strict.pick(requestFrom(1), tried), null);
  health.set(a, true);
  assert.deepEqual(shares(strict), { a: 100 }, "all are used when none is healthy");
  health.refusesWhenAllDown = true;
  assert.equal(strict.pick(requestFrom(1), TriedNodes.NONE), null);
});

test("a zone with too few healthy nodes leaves its turns to the next, unless that has none", () => {
  const health = new Health();
  const [a, b] = [nodesIn("a", 4), nodesIn("b", 2)];
  const half = balancer([...a, ...b], { min_healthy_percent: 50 }, health);
  health.set(a.slice(0, 2), true);
  assert.deepEqual(shares(half), { a: 100 });
  health.set(a.slice(0, 3), true);
  assert.deepEqual(shares(half), { b: 100 });
  health.set(b, true);
  assert.deepEqual(shares(half), { a: 100 }, "better few than none");
  health.isPanic = true;
  assert.deepEqual(shares(half), { a: 100 });
});

test("a zone that is back gets its traffic in ten steps", () => {
  const health = new Health();
  const [a, b] = [nodesIn("a", 3), nodesIn("b", 3)];
  const back = balancer([...a, ...b], { fail_back: 100 }, health);
  assert.deepEqual(shares(back), { a: 100 }, "what was never down has nothing to come back from");
  health.set(a, true);
  assert.deepEqual(shares(back), { b: 100 });
  health.nowMs = 50_000;
  health.set(a, false);
  for (let step = 1; step <= 10; step++) {
    const { a: share } = shares(back);
    assert.ok(Math.abs(share - 10 * step) <= 6, `${share} per cent in step ${step}`);
    health.nowMs += 9999;
    assert.ok(Math.abs(shares(back).a - share) <= 8);
    health.nowMs += 1;
  }
  assert.deepEqual(shares(back), { a: 100 });
});

test("one node that comes and goes does not send its zone away", () => {
  const health = new Health();
  const [a, b] = [nodesIn("a", 3), nodesIn("b", 3)];
  const back = balancer([...a, ...b], { fail_back: 100, min_healthy_percent: 50 }, health);
  for (let i = 0; i < 3; i++) {
    health.nowMs += 1000;
    health.set([a[0]], i % 2 === 0);
    assert.deepEqual(shares(back), { a: 100 });
  }
});

test("standby nodes by priority give way by steps, too", () => {
  const health = new Health();
  const [active, standby] = [nodesIn("", 2, 1), nodesIn("", 2, 0)];
  const back = balancer([...active, ...standby], { fail_back: 100 }, health, null);
  health.set(active, true);
  assert.equal(back.pick(requestFrom(1), TriedNodes.NONE)?.priority, 0);
  health.set(active, false);
  let ofActive = 0;
  for (let i = 0; i < 1000; i++) ofActive += back.pick(requestFrom(i), TriedNodes.NONE)!.priority;
  assert.ok(ofActive > 50 && ofActive < 150, String(ofActive));
});
