/** Zones as an upstream has them: from metadata of nodes, through the health table, and as requests wish. */

import assert from "node:assert/strict";
import { test } from "node:test";
import type { ZoneWish } from "../../plugin/exchange.ts";
import type { PublishedUpstream } from "../../model/published.ts";
import { HealthRegistry } from "../../shared/health-registry.ts";
import { SUCCESS, TCP_FAILURE } from "../../shared/health-state.ts";
import { healthKey, HealthTable } from "../../shared/health-table.ts";
import { TriedNodes } from "./node.ts";
import { configOf, servicesOf } from "./upstream-test-kit.ts";
import { Upstream } from "./upstream.ts";

const ZONES = ["a", "b", "c"];

/** Two nodes in each of three zones, all checked; the gateway is in zone a. */
function bench(rest: Partial<PublishedUpstream> = {}, zone: string | null = "a") {
  const registry = new HealthRegistry(new HealthTable(new SharedArrayBuffer(HealthTable.bytes())));
  const nodes = ZONES.flatMap((name, i) =>
    [1, 2].map((n) => ({
      host: `10.0.${i}.${n}`,
      port: 80,
      weight: 1,
      priority: 0,
      metadata: { zone: name },
    })),
  );
  const config = configOf(nodes, { id: "u", checks: { active: {} }, ...rest });
  const services = servicesOf({ health: registry.table, zone });
  const slots = nodes.map(({ host }) => registry.claim(healthKey("/upstreams/u", host, 80, host)));
  const { table } = registry;
  const report = (name: string, result: typeof SUCCESS | typeof TCP_FAILURE): void => {
    for (const slot of slots.slice(2 * ZONES.indexOf(name), 2 * ZONES.indexOf(name) + 2))
      table.report(slot, table.generation(slot), result, 1);
  };
  return {
    upstream: new Upstream(config, services),
    down: (name: string) => report(name, TCP_FAILURE),
    up: (name: string) => report(name, SUCCESS),
  };
}

/** The zones that 60 requests go to. */
function picked(upstream: Upstream, zoneWish: ZoneWish | null = null): string {
  const request = { variable: (): undefined => undefined, zoneWish };
  const seen = new Set<string>();
  for (let i = 0; i < 60; i++) seen.add(upstream.pick(request, TriedNodes.NONE)?.zone ?? "-");
  return [...seen].sort().join("");
}

const LOCAL = { order: ["local"], strict: false, min_healthy_percent: 0, fail_back: 0 };

test("without zones of the upstream, those of nodes make no difference", () => {
  assert.equal(picked(bench().upstream), "abc");
});

test("a zone that dies gives way to the others, and comes back at once without fail-back", () => {
  const { upstream, down, up } = bench({ zones: LOCAL });
  assert.equal(picked(upstream), "a");
  down("a");
  assert.equal(picked(upstream), "bc");
  up("a");
  assert.equal(picked(upstream), "a");
});

test("with fail-back it gets a share of the turns first", () => {
  const { upstream, down, up } = bench({ zones: { ...LOCAL, fail_back: 3600 } });
  down("a");
  assert.equal(picked(upstream), "bc");
  up("a");
  let ofLocal = 0;
  for (let i = 0; i < 2000; i++)
    if (upstream.pick({ variable: () => undefined }, TriedNodes.NONE)!.zone === "a") ofLocal++;
  assert.ok(ofLocal > 120 && ofLocal < 290, `${ofLocal} of 2000 in the first step`);
});

test("a request goes to the zone that it wishes, and to others only if it may", () => {
  const { upstream, down } = bench({ zones: LOCAL });
  assert.equal(picked(upstream, { zone: "c", isOnly: true }), "c");
  assert.equal(picked(upstream, { zone: "c", isOnly: false }), "c");
  assert.equal(picked(upstream, { zone: "nowhere", isOnly: false }), "a");
  assert.equal(picked(upstream, { zone: "nowhere", isOnly: true }), "-");
  down("c");
  assert.equal(picked(upstream, { zone: "c", isOnly: false }), "a");
  assert.equal(picked(upstream, { zone: "c", isOnly: true }), "c", "all are used when none is healthy");
});

test("wishes hold without zones of the upstream, and follow its nodes", () => {
  const { upstream } = bench();
  assert.equal(picked(upstream, { zone: "b", isOnly: true }), "b");
  const refusing = bench({ checks: { active: {}, all_unhealthy: "refuse" } });
  refusing.down("b");
  assert.equal(picked(refusing.upstream, { zone: "b", isOnly: true }), "-");
  assert.equal(picked(refusing.upstream, { zone: "b", isOnly: false }), "ac");
});
