/**
 * `rollout`: what a rollout (the resource) is on its route or service. Control puts it there with the share that is in
 * force; nobody else may write it.
 *
 * Chooses like `traffic-split`, exact over all workers, and counts what becomes of the requests of both upstreams, by
 * which control goes on or back. It leaves alone what `traffic-split` sent elsewhere before. While an upstream that it
 * names is not there, requests go to the target's own.
 */

import { definePlugin, type Exchange, Type } from "../../plugin/index.ts";
import { Id } from "../../plugin/upstream-config.ts";
import { Sticky } from "../traffic-split/config.ts";
import { SplitRule } from "../traffic-split/rule.ts";
import { countsOf } from "./counts.ts";

const WHOLE = 100;
/** The place of the canary in the rule: first, so that a growing share takes nobody back to the stable upstream. */
const CANARY = 0;
/** For logs and conditions, too. */
const VARIABLE = "rollout_variant";

export default definePlugin({
  name: "rollout",
  version: "0.1.0",
  priority: 965,
  // What is counted under a rollout's id decides about it: nobody else may count there.
  isMadeByControl: true,
  config: Type.Object({
    rollout: Type.String({ minLength: 1, maxLength: 64, description: "Id of the rollout" }),
    canary: Type.Unsafe<string | number>({ ...Id, description: "Id of the upstream that is rolled out" }),
    stable: Type.Optional(
      Type.Unsafe<string | number>({
        ...Id,
        description: "Id of the upstream for the other requests; absent: the route's own",
      }),
    ),
    weight: Type.Integer({
      minimum: 0,
      maximum: WHOLE,
      description: "Per cent of the requests that go to the canary",
    }),
    sticky: Type.Optional(Sticky),
  }),
  compile(config, host) {
    const { rollout, canary, stable, weight, sticky } = config;
    const rule = new SplitRule(
      {
        weighted_upstreams: [
          { upstream_id: canary, weight },
          { ...(stable !== undefined && { upstream_id: stable }), weight: WHOLE - weight },
        ],
        ...(sticky !== undefined && { sticky }),
      },
      0,
      host,
    );
    const counts = countsOf(host.metrics, rollout);
    const owner = `rollout#${rollout}`;
    return {
      access(ctx: Exchange) {
        if (ctx.upstreamChoice !== null || rule.missingUpstream() !== null) return;
        const isCanary = rule.choose(ctx, owner) === CANARY;
        ctx.setVariable(VARIABLE, isCanary ? "canary" : "stable");
      },
      ...(rule.setsCookie && { responseHeaders: (ctx: Exchange) => rule.setCookie(ctx) }),
      log(ctx: Exchange) {
        const variant = ctx.variable(VARIABLE);
        if (variant !== undefined) counts.count(ctx, variant === "canary");
      },
      dispose() {
        rule.dispose();
        counts.release();
      },
    };
  },
});
