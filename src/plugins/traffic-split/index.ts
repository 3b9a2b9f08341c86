/**
 * `traffic-split`: the first rule that matches shares its requests out among upstreams by weight; an entry without an
 * upstream stands for the route's own. Canary and blue-green releases are made of it.
 *
 * Exact over all workers of the node. `sticky` keeps a client where it is. Fails closed where an upstream that is
 * referred to does not exist: requests of that rule, and of those after it, get 500.
 */

import { definePlugin, type Exchange, type InnerConfig, type PhaseResult } from "../../plugin/index.ts";
import { checkExpression } from "../../lib/expression.ts";
import { Config, type SplitConfig } from "./config.ts";
import { SplitRule } from "./rule.ts";

export default definePlugin({
  name: "traffic-split",
  version: "0.1.0",
  priority: 966,
  perOwner: true,
  subsystems: ["http", "stream"],
  encrypted: ["rules.weighted_upstreams.upstream.tls.client_key"],
  config: Config,
  check(config) {
    for (const { match, sticky } of config.rules ?? []) {
      for (const { vars } of match ?? []) {
        const reason = checkExpression(vars);
        if (reason !== null) return `failed to validate the 'vars' expression: ${reason}`;
      }
      if (sticky !== undefined && (sticky.cookie === undefined) === (sticky.header === undefined))
        return "sticky: expected either cookie or header";
    }
    return null;
  },
  innerConfigs,
  hostNames: (config) =>
    innerConfigs(config).flatMap(({ holder, key }) => hostsOf(holder[key] as { nodes: { host: string }[] })),
  compile(config, host) {
    const rules = (config.rules ?? []).map((rule, i) => new SplitRule(rule, i, host));
    const access = (ctx: Exchange): PhaseResult => {
      for (let i = 0; i < rules.length; i++) {
        const rule = rules[i];
        const missing = rule.missingUpstream();
        if (missing !== null)
          return ctx.answer(500, `failed to fetch upstream info by upstream id: ${missing}`);
        if (!rule.matches(ctx)) continue;
        rule.choose(ctx, host.ownerOf(ctx));
        return undefined;
      }
      return undefined;
    };
    const setsCookie = rules.some((rule) => rule.setsCookie);
    return {
      access,
      preread: access,
      ...(setsCookie && { responseHeaders: (ctx: Exchange) => setCookie(rules, ctx) }),
      dispose() {
        for (const rule of rules) rule.dispose();
      },
    };
  },
});

function innerConfigs({ rules }: SplitConfig): InnerConfig[] {
  return (rules ?? []).flatMap(({ weighted_upstreams: entries }) =>
    entries
      .filter((entry) => entry.upstream !== undefined)
      .map((entry) => ({
        kind: "upstream" as const,
        holder: entry as unknown as Record<string, unknown>,
        key: "upstream",
        prefix: "weighted_upstreams: ",
      })),
  );
}

function hostsOf({ nodes }: { nodes: { host: string }[] }): string[] {
  return nodes.map(({ host }) => host);
}

function setCookie(rules: readonly SplitRule[], ctx: Exchange): void {
  for (let i = 0; i < rules.length; i++) rules[i].setCookie(ctx);
}
