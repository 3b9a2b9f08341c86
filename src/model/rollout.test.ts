import assert from "node:assert/strict";
import { test } from "node:test";
import { PluginCatalog } from "../plugins/catalog.ts";
import { type PublishedProgress, type PublishedRollout, rolloutType, weightInForce } from "./rollout.ts";
import { validateResource } from "./validate.ts";

const plugins = new PluginCatalog(null);
const VALID = {
  route_id: "1",
  canary: { upstream_id: "new" },
  steps: [
    { weight: 5, duration: 60 },
    { weight: 50, requests: 9 },
  ],
};

function published(fields: object = {}, created = 1): PublishedRollout {
  return rolloutType.normalize!("r", { ...VALID, ...fields }, plugins, created);
}

function progress(fields: Partial<PublishedProgress> = {}): PublishedProgress {
  const { run } = published();
  return {
    id: "r",
    run,
    phase: "running",
    step: 0,
    elapsed: 0,
    requests: 0,
    holder: "a",
    since: 0,
    ...fields,
  };
}

for (const [action, current, weight] of [
  ["run", null, 0],
  ["run", progress(), 5],
  ["run", progress({ step: 1 }), 50],
  ["run", progress({ step: 7 }), 50],
  ["run", progress({ run: "another" }), 0],
  ["pause", progress({ step: 1 }), 50],
  ["abort", progress({ step: 1 }), 0],
  ["promote", null, 100],
  ["promote", progress(), 100],
  ["run", progress({ phase: "promoted" }), 100],
  ["abort", progress({ phase: "promoted" }), 0],
  ["run", progress({ phase: "rolled_back", step: 1 }), 0],
  ["promote", progress({ phase: "rolled_back" }), 0],
  ["run", progress({ phase: "aborted", step: 1 }), 0],
] as const) {
  test(`${action} with ${JSON.stringify(current)}: the canary gets ${weight} per cent`, () => {
    assert.equal(weightInForce(published({ action }), current), weight);
  });
}

test("what is rolled out, and how, makes a run; what is watched and wished does not", () => {
  const { run } = published();
  for (const same of [{ action: "pause" }, { adopt: true }, { rollback: { latency: 1 } }, { name: "x" }])
    assert.equal(published(same).run, run);
  for (const other of [
    { attempt: 2 },
    { canary: { upstream_id: "newer" } },
    { stable: { upstream_id: "old" } },
    { steps: [{ weight: 6, duration: 60 }] },
  ])
    assert.notEqual(published(other).run, run);
  assert.notEqual(published({}, 2).run, run, "made again");
});

for (const [fields, reason] of [
  [{}, null],
  [{ route_id: undefined, service_id: "s" }, null],
  [{ rollback: { error_percent: 5 } }, null],
  [{ route_id: undefined }, /either route_id or service_id/],
  [{ service_id: "s" }, /either route_id or service_id/],
  [{ steps: [] }, /steps/],
  [{ steps: [{ weight: 5 }] }, /steps/],
  [{ steps: [{ weight: 101, duration: 1 }] }, /weight/],
  [{ rollback: {} }, /rollback/],
  [{ sticky: {} }, /either cookie or header/],
  [{ stable: { upstream_id: "new" } }, /expected another/],
  [{ action: "stop" }, /action/],
] as const) {
  test(`${JSON.stringify(fields)} is ${reason === null ? "taken" : "refused"}`, () => {
    const fault = validateResource(
      rolloutType,
      JSON.parse(JSON.stringify({ ...VALID, ...fields })),
      { plugins },
      "r",
    );
    if (reason === null) assert.equal(fault, null);
    else assert.match(fault?.message ?? "", reason);
  });
}

test("two rollouts cannot be on one route", () => {
  const list = () =>
    [["other", { route_id: 1 }]] as [string, object][] as [string, Record<string, unknown>][];
  assert.match(
    validateResource(rolloutType, VALID, { plugins, list }, "r")?.message ?? "",
    /\[other\] is on it already/,
  );
  assert.equal(validateResource(rolloutType, VALID, { plugins, list }, "other"), null);
});
