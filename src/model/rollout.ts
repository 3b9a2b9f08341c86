/**
 * A progressive rollout: a growing share of a route's or a service's requests goes to another upstream, step by step,
 * and all of them come back when that upstream fails or is slow.
 *
 * Two resources. The rollout is what people want; its progress, which stands below it and goes with it, is how far it
 * came, and is written by the nodes. The share in force follows from these two alone (`weightInForce`): every node that
 * has both has the same share, and a node that is started again goes on where the rollout is.
 *
 * Cardea's own: in an etcd that APISIX reads too, it is a prefix that APISIX does not know.
 */

import { contentHash } from "../lib/content-hash.ts";
import { Type } from "../lib/schema.ts";
import { withDefaults } from "./defaults.ts";
import { idText, isObject, refused } from "./resource-type.ts";
import type { JsonObject, ModelContext, ResourceType, ValidationError } from "./resource-type.ts";
import { common, described, Id, oneOf, strictObject } from "./schema-parts.ts";

export const WHOLE = 100;
const MAX_STEPS = 100;
const MAX_STEP_SECONDS = 30 * 86_400;
const MAX_WINDOW_SECONDS = 3600;
/** A token (RFC 9110 5.6.2), as names of cookies and fields are. */
const Token = Type.String({ pattern: "^[!#$%&'*+.^_`|~0-9A-Za-z-]+$", maxLength: 128 });

const Upstream = strictObject({ upstream_id: Id });

const Step = strictObject(
  {
    weight: Type.Integer({ minimum: 0, maximum: WHOLE }),
    duration: Type.Optional(Type.Number({ exclusiveMinimum: 0, maximum: MAX_STEP_SECONDS })),
    requests: Type.Optional(Type.Integer({ minimum: 1 })),
  },
  { anyOf: [{ required: ["duration"] }, { required: ["requests"] }] },
);

const Rollback = strictObject(
  {
    error_percent: Type.Optional(Type.Number({ minimum: 0, maximum: 100 })),
    latency: Type.Optional(Type.Number({ exclusiveMinimum: 0, maximum: 3600 })),
    percentile: Type.Optional(Type.Number({ minimum: 50, maximum: 99.9, default: 95 })),
    min_requests: Type.Optional(Type.Integer({ minimum: 1, default: 20 })),
    window: Type.Optional(Type.Number({ minimum: 1, maximum: MAX_WINDOW_SECONDS, default: 60 })),
  },
  { anyOf: [{ required: ["error_percent"] }, { required: ["latency"] }] },
);

export type RolloutAction = "run" | "pause" | "promote" | "abort";

export interface RolloutStep {
  /** Per cent of the requests. */
  weight: number;
  /** Seconds; absent: it does not count. */
  duration?: number;
  /** Of the canary; absent: they do not count. */
  requests?: number;
}

/** What the canary must not do. */
export interface RollbackRule {
  error_percent?: number;
  /** Seconds of the percentile. */
  latency?: number;
  percentile: number;
  /** With fewer in the window nothing is judged. */
  min_requests: number;
  /** Seconds that are looked back on. */
  window: number;
}

export interface PublishedRollout {
  id: string;
  target: { kind: "route" | "service"; id: string };
  /** Id of an upstream; absent: the target's own. */
  stable?: string;
  canary: string;
  sticky?: { cookie?: string; header?: string; max_age?: number };
  steps: RolloutStep[];
  rollback?: RollbackRule;
  action: RolloutAction;
  adopt: boolean;
  /** Names this run through the steps; another one when what is rolled out changes. */
  run: string;
}

export type RolloutPhase = "running" | "promoted" | "rolled_back" | "aborted";

export interface PublishedProgress {
  /** That of the rollout. */
  id: string;
  run: string;
  phase: RolloutPhase;
  /** From 0. */
  step: number;
  /** Seconds and requests of the canary in this step. */
  elapsed: number;
  requests: number;
  /** Why it was rolled back. */
  reason?: string;
  /** The node that drives it. */
  holder: string;
  /** Seconds since 1970 at which the phase or the step began. */
  since: number;
}

export const rolloutType: ResourceType<PublishedRollout> = {
  plural: "rollouts",
  singular: "rollout",
  title: "rollout",
  schema: strictObject({
    ...described,
    route_id: Type.Optional(Id),
    service_id: Type.Optional(Id),
    stable: Type.Optional(Upstream),
    canary: Upstream,
    sticky: Type.Optional(
      strictObject({
        cookie: Type.Optional(Token),
        header: Type.Optional(Token),
        max_age: Type.Optional(Type.Integer({ minimum: 1 })),
      }),
    ),
    steps: Type.Array(Step, { minItems: 1, maxItems: MAX_STEPS }),
    rollback: Type.Optional(Rollback),
    action: Type.Optional(oneOf(["run", "pause", "promote", "abort"], { default: "run" })),
    adopt: Type.Optional(Type.Boolean({ default: false })),
    attempt: Type.Optional(Type.Integer({ minimum: 1, default: 1 })),
  }),
  id: { field: "id", generated: true },
  methods: ["GET", "PUT", "POST", "PATCH", "DELETE"],
  isLiveWhenAnswered: true,
  references: [
    { path: ["route_id"], to: "routes", title: "route", isActedOn: true },
    { path: ["service_id"], to: "services", title: "service", isActedOn: true },
    { path: ["stable", "upstream_id"], to: "upstreams", title: "upstream" },
    { path: ["canary", "upstream_id"], to: "upstreams", title: "upstream" },
  ],
  inUse: null,
  check: checkRollout,
  normalize: normalizeRollout,
};

export const progressType: ResourceType<PublishedProgress> = {
  plural: "progress",
  singular: "progress",
  title: "progress",
  parent: "rollouts",
  schema: strictObject({
    ...common,
    run: Type.String({ maxLength: 64 }),
    phase: oneOf(["running", "promoted", "rolled_back", "aborted"]),
    step: Type.Integer({ minimum: 0, maximum: MAX_STEPS }),
    elapsed: Type.Number({ minimum: 0 }),
    requests: Type.Integer({ minimum: 0 }),
    reason: Type.Optional(Type.String({ maxLength: 256 })),
    holder: Type.String({ maxLength: 64 }),
    since: Type.Integer({ minimum: 0 }),
  }),
  id: { field: "id", generated: false },
  methods: ["GET"],
  references: [],
  inUse: null,
  normalize: (id, value) => {
    const { create_time: _made, update_time: _changed, ...progress } = value;
    return { ...progress, id } as unknown as PublishedProgress;
  },
};

/** Per cent of the requests that go to the canary. */
export function weightInForce(rollout: PublishedRollout, progress: PublishedProgress | null): number {
  const current = progress !== null && progress.run === rollout.run ? progress : null;
  if (rollout.action === "abort") return 0;
  if (current !== null && current.phase !== "running") return current.phase === "promoted" ? WHOLE : 0;
  if (rollout.action === "promote") return WHOLE;
  return current === null ? 0 : rollout.steps[Math.min(current.step, rollout.steps.length - 1)].weight;
}

function checkRollout(
  value: JsonObject,
  context: ModelContext,
  id: string | undefined,
): ValidationError | null {
  const { route_id: route, service_id: service, stable, canary, sticky } = value;
  if ((route === undefined) === (service === undefined))
    return refused("expected either route_id or service_id", "/route_id");
  if (isObject(sticky) && (sticky["cookie"] === undefined) === (sticky["header"] === undefined))
    return refused("sticky: expected either cookie or header", "/sticky");
  if (isObject(stable) && idText(stable["upstream_id"]) === idText((canary as JsonObject)["upstream_id"]))
    return refused("canary.upstream_id: given that of stable, expected another", "/canary/upstream_id");
  const field = route === undefined ? "service_id" : "route_id";
  for (const [other, { [field]: target }] of context.list?.("rollouts") ?? []) {
    if (other === id || idText(target) !== idText(value[field])) continue;
    return refused(`${field}: the rollout [${other}] is on it already`, `/${field}`);
  }
  return null;
}

function normalizeRollout(
  id: string,
  value: JsonObject,
  _plugins: unknown,
  created: number,
): PublishedRollout {
  const { route_id: route, service_id: service } = value;
  const target =
    route === undefined
      ? { kind: "service" as const, id: idText(service)! }
      : { kind: "route" as const, id: idText(route)! };
  const stable = isObject(value["stable"]) ? idText(value["stable"]["upstream_id"]) : undefined;
  const canary = idText((value["canary"] as JsonObject)["upstream_id"])!;
  const steps = value["steps"] as RolloutStep[];
  const attempt = (value["attempt"] as number | undefined) ?? 1;
  const rollout: PublishedRollout = {
    id,
    target,
    canary,
    steps,
    action: (value["action"] as RolloutAction | undefined) ?? "run",
    adopt: value["adopt"] === true,
    // Made again under the same id, it is another one.
    run: contentHash([target, stable, canary, steps, attempt, created]),
  };
  if (stable !== undefined) rollout.stable = stable;
  if (isObject(value["sticky"])) rollout.sticky = { ...value["sticky"] };
  if (isObject(value["rollback"]))
    rollout.rollback = withDefaults(Rollback, value["rollback"]) as RollbackRule;
  return rollout;
}
