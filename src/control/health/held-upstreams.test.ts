/** Upstreams inside plugins: told once, for as long as somebody holds them. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { normalizeHeldUpstream } from "../../model/normalize-upstream.ts";
import type { Kind } from "../../shared/configuration-bytes.ts";
import { HeldUpstreams } from "./held-upstreams.ts";

function upstreamOf(port: number, rest: object = { checks: { active: {} } }) {
  return normalizeHeldUpstream({ nodes: { [`10.0.0.1:${port}`]: 1 }, ...rest });
}

test("an upstream is told once, and taken back when the last resource lets go of it", () => {
  const told: string[] = [];
  const held = new HeldUpstreams((key, upstream) =>
    told.push(`${upstream === null ? "-" : "+"}${upstream?.nodes[0].port ?? key.length}`),
  );
  const take = (kind: Kind, id: string, upstreams: unknown[] | null): void => {
    const plugins = { "traffic-split": { rules: [{ weighted_upstreams: upstreams }] } };
    held.take({ kind, id, value: upstreams === null ? null : JSON.stringify({ id, plugins }) });
  };
  take("route", "1", [{ upstream: upstreamOf(80) }, { weight: 1 }]);
  take("plugin_config", "1", [{ upstream: upstreamOf(80) }, { upstream: upstreamOf(81) }]);
  take("route", "2", [{ upstream: upstreamOf(82, {}) }]);
  assert.deepEqual(told, ["+80", "+81"]);
  take("route", "1", null);
  assert.equal(told.length, 2);
  take("plugin_config", "1", [{ upstream: upstreamOf(81) }]);
  assert.equal(told.length, 3);
  take("plugin_config", "1", []);
  assert.equal(told.length, 4);
});

test("equal upstreams have one key, others another, and those that nobody watches none", () => {
  assert.equal(upstreamOf(80).health_key, upstreamOf(80).health_key);
  assert.notEqual(upstreamOf(80).health_key, upstreamOf(81).health_key);
  assert.equal(upstreamOf(80, {}).health_key, undefined);
  assert.ok(upstreamOf(80, { outlier: {} }).health_key!.startsWith("/held/"));
});
