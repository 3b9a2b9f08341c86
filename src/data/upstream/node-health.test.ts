/** What a worker makes of the health table: who is picked, what results do, drains, policies. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { type HealthChecks, healthChecksOf } from "../../model/health-checks.ts";
import type { PublishedUpstream } from "../../model/published.ts";
import { HealthRegistry } from "../../shared/health-registry.ts";
import { STATE_NAMES, stateOf, SUCCESS, TCP_FAILURE } from "../../shared/health-state.ts";
import { drainKey, healthKey, HealthTable, outlierKey } from "../../shared/health-table.ts";
import type { UpstreamFailure } from "../transport.ts";
import { NodeHealth } from "./node-health.ts";
import { TriedNodes } from "./node.ts";
import { configOf, servicesOf } from "./upstream-test-kit.ts";
import { Upstream, type UpstreamServices } from "./upstream.ts";

const REQUEST = { variable: (): undefined => undefined };

interface Bench {
  registry: HealthRegistry;
  services: UpstreamServices;
  slots: number[];
  upstream: Upstream;
  config: PublishedUpstream;
  down(index: number): void;
}

/** Three nodes 10.0.0.1 to 3, port 80, all with a slot. */
function bench(checks: object | null = { active: {} }, rest: Partial<PublishedUpstream> = {}): Bench {
  const registry = new HealthRegistry(new HealthTable(new SharedArrayBuffer(HealthTable.bytes())));
  const nodes = [1, 2, 3].map((n) => ({ host: `10.0.0.${n}`, port: 80, weight: 1, priority: 0 }));
  const config = configOf(nodes, {
    id: "u",
    ...(checks !== null && { checks: checks as Record<string, unknown> }),
    ...rest,
  });
  const services = servicesOf({ health: registry.table, random: () => 0.5 });
  const slots = nodes.map(({ host }) => registry.claim(healthKey("/upstreams/u", host, 80, host)));
  const { table } = registry;
  return {
    registry,
    services,
    slots,
    config,
    upstream: new Upstream(config, services),
    down: (index) => void table.report(slots[index], table.generation(slots[index]), TCP_FAILURE, 1),
  };
}

/** Last numbers of the addresses that nine picks give, in order of appearance by number. */
function picked(upstream: Upstream): string {
  const seen = new Set<string>();
  for (let i = 0; i < 9; i++) seen.add(upstream.pick(REQUEST, TriedNodes.NONE)?.host.at(-1) ?? "-");
  return [...seen].sort().join("");
}

for (const type of ["roundrobin", "least_conn", "ewma", "chash"] as const) {
  test(`${type}: an unhealthy node gets no request from the next pick on, until it is healthy again`, () => {
    const b = bench({ active: {} }, { type });
    b.down(0);
    b.down(1);
    assert.equal(picked(b.upstream), "3");
    b.registry.release(b.slots[1]);
    b.down(2);
    assert.equal(picked(b.upstream), "2");
  });
}

test("when all nodes are unhealthy all are used, or none if the upstream refuses", () => {
  const uses = bench();
  const refuses = bench({ active: {}, all_unhealthy: "refuse" });
  for (const b of [uses, refuses]) for (const index of [0, 1, 2]) b.down(index);
  assert.equal(picked(uses.upstream), "123");
  assert.equal(picked(refuses.upstream), "-");
});

test("a sole node that is unhealthy is used, or refused", () => {
  const nodes = [{ host: "10.0.0.1", port: 80, weight: 1, priority: 0 }];
  const uses = bench({ active: {} }, { nodes });
  const refuses = bench({ active: {}, all_unhealthy: "refuse" }, { nodes });
  for (const b of [uses, refuses]) b.down(0);
  assert.equal(picked(uses.upstream), "1");
  assert.equal(picked(refuses.upstream), "-");
});

test("below the panic threshold health is ignored", () => {
  const b = bench({ active: {}, panic_threshold: 50 });
  b.down(0);
  assert.equal(picked(b.upstream), "23");
  b.down(1);
  assert.equal(picked(b.upstream), "123");
});

test("nodes without a slot are used, and found as soon as they have one", () => {
  const b = bench();
  b.registry.release(b.slots[0]);
  assert.equal(picked(b.upstream), "123");
  b.slots[0] = b.registry.claim(healthKey("/upstreams/u", "10.0.0.1", 80, "10.0.0.1"));
  b.down(0);
  assert.equal(picked(b.upstream), "23");
});

test("an upstream without checks does not ask the table", () => {
  const b = bench(null);
  b.down(0);
  assert.equal(picked(b.upstream), "123");
});

const PASSIVE = {
  active: {},
  passive: {
    healthy: { successes: 1, http_statuses: [200] },
    unhealthy: { http_failures: 2, tcp_failures: 1, timeouts: 3, http_statuses: [500] },
  },
};

const RESULTS: readonly (readonly [readonly (number | UpstreamFailure)[], string])[] = [
  [[200, 404], "healthy"],
  [[500], "mostly_healthy"],
  [[500, 500], "unhealthy"],
  [[500, 200, 500], "mostly_healthy"],
  [["refused"], "unhealthy"],
  [["reset"], "unhealthy"],
  [["malformed"], "unhealthy"],
  [["overloaded"], "healthy"],
  [["read-timeout", "connect-timeout"], "mostly_healthy"],
  [["read-timeout", "connect-timeout", "send-timeout"], "unhealthy"],
];

for (const [results, state] of RESULTS) {
  test(`passive checks: after ${results.join(", ")} a node is ${state}`, () => {
    const b = bench(PASSIVE);
    const node = b.upstream.nodes[0];
    for (const result of results) {
      if (typeof result === "number") b.upstream.answered(node, result, 1);
      else b.upstream.failed(node, result);
    }
    const { table } = b.registry;
    assert.equal(STATE_NAMES[stateOf(table.word(b.slots[0]))], state);
    assert.equal(picked(b.upstream), table.isUp(b.slots[0]) ? "123" : "23");
  });
}

test("without passive checks results of requests count for nothing", () => {
  const b = bench();
  for (let i = 0; i < 9; i++) b.upstream.failed(b.upstream.nodes[0], "refused");
  assert.equal(picked(b.upstream), "123");
});

test("a drained node gets nothing, even when no other is left, and is back after the drain", () => {
  for (const checks of [null, { active: {} }]) {
    const b = bench(checks);
    assert.equal(picked(b.upstream), "123");
    const drains = [1, 2, 3].map((n) => b.registry.claimDrain(drainKey("/upstreams/u", `10.0.0.${n}`, 80)));
    assert.equal(picked(b.upstream), "-");
    b.registry.release(drains[1]);
    assert.equal(picked(b.upstream), "2");
    for (const drain of drains) b.registry.release(drain);
    assert.equal(picked(b.upstream), "123");
  }
});

test("a version that was replaced gives no drained node to a retry either", () => {
  const b = bench(null);
  const [first] = b.upstream.nodes;
  const tried = new TriedNodes();
  tried.add(first);
  const next = new Upstream(b.config, b.services, b.upstream);
  assert.equal(picked(next), "123");
  b.registry.claimDrain(drainKey("/upstreams/u", "10.0.0.2", 80));
  assert.equal(b.upstream.pick(REQUEST, tried)?.host, "10.0.0.3");
});

test("drains of one resource are none of another", () => {
  const b = bench(null);
  b.registry.claimDrain(drainKey("/upstreams/other", "10.0.0.1", 80));
  assert.equal(picked(b.upstream), "123");
});

test("what a check leaves out has its default", () => {
  const checks = healthChecksOf({ checks: { active: {}, passive: {} } } as unknown as PublishedUpstream);
  const { active, passive } = checks as HealthChecks;
  assert.deepEqual([active.healthy.interval, active.unhealthy.tcp_failures], [1, 2]);
  assert.deepEqual([passive!.healthy.successes, passive!.unhealthy.timeouts], [5, 7]);
});

/** A bench whose nodes are watched for errors, with a clock. */
function outlierBench(outlier: object, rest: Partial<PublishedUpstream> = {}) {
  const b = bench(null, rest);
  const clock = { now: 1000 };
  const { table } = b.registry;
  for (const { host } of b.config.nodes) b.registry.claim(outlierKey("/upstreams/u", host, host, 80));
  const settings = {
    consecutive_errors: 2,
    ejection_time: 10,
    max_ejection_time: 15,
    max_ejected_percent: 50,
    ...outlier,
  };
  const health = new NodeHealth(table, "/upstreams/u", null, settings, () => clock.now);
  const nodes = health.assign(b.upstream.nodes);
  const down = (): string => {
    health.look();
    return nodes
      .filter((node) => !health.isHealthy(node))
      .map((node) => node.host.at(-1))
      .join("");
  };
  return { health, nodes, clock, down };
}

test("errors in a row eject a node for a time that grows, a good answer between them does not", () => {
  const { health, nodes, clock, down } = outlierBench({});
  health.answered(nodes[0], 503, 1);
  health.answered(nodes[0], 404, 1);
  health.failed(nodes[0], "reset");
  assert.equal(down(), "");
  health.failed(nodes[0], "reset");
  assert.equal(down(), "1");
  clock.now += 9_900;
  assert.equal(down(), "1");
  clock.now += 200;
  assert.equal(down(), "");
  for (let i = 0; i < 2; i++) health.answered(nodes[0], 500, 1);
  clock.now += 14_800;
  assert.equal(down(), "1");
  clock.now += 300;
  assert.equal(down(), "");
});

test("answers that come late are errors, if the upstream says so", () => {
  const slow = outlierBench({ slow_after: 0.2 });
  const patient = outlierBench({});
  for (const { health, nodes } of [slow, patient])
    for (let i = 0; i < 2; i++) health.answered(nodes[2], 200, 201);
  assert.equal(slow.down(), "3");
  assert.equal(patient.down(), "");
});

test("no more nodes are ejected than the share that may be", () => {
  const { health, nodes, down } = outlierBench({ max_ejected_percent: 34 });
  for (const node of nodes) for (let i = 0; i < 4; i++) health.failed(node, "refused");
  assert.equal(down(), "1");
});

test("a node that came back gets its share by steps, and the picks of one balancer agree", () => {
  const clock = { now: 100_000 };
  const registry = new HealthRegistry(
    new HealthTable(new SharedArrayBuffer(HealthTable.bytes()), () => clock.now),
  );
  const { table } = registry;
  const b = bench(null);
  const checks = healthChecksOf({ checks: { active: {}, slow_start: 10 } } as unknown as PublishedUpstream)!;
  const slot = registry.claim(healthKey("/upstreams/u", "10.0.0.1", 80, "10.0.0.1"));
  const generation = table.generation(slot);
  let drawn = 0;
  const random = (): number => (drawn++ % 100) / 100;
  const health = new NodeHealth(table, "/upstreams/u", checks, null, () => clock.now, random);
  const [node] = health.assign(b.upstream.nodes);
  const share = (): number => {
    let picks = 0;
    for (let i = 0; i < 100; i++) {
      health.look();
      if (health.isHealthy(node) && health.isHealthy(node)) picks++;
    }
    return picks;
  };
  assert.equal(share(), 100);
  table.report(slot, generation, TCP_FAILURE, 1);
  assert.equal(share(), 0);
  table.report(slot, generation, SUCCESS, 1);
  assert.equal(share(), 10);
  clock.now += 4_500;
  assert.equal(share(), 50);
  clock.now += 5_000;
  assert.equal(share(), 100);
  clock.now += 500;
  assert.equal(share(), 100);
  health.look();
  assert.equal(health.isAnyDown, false);
});

test("a node that just came back is used when no other is up", () => {
  const b = bench({ active: {}, slow_start: 3600 });
  for (const index of [0, 1, 2]) b.down(index);
  const { table } = b.registry;
  table.report(b.slots[0], table.generation(b.slots[0]), SUCCESS, 1);
  assert.equal(picked(b.upstream), "1");
});
