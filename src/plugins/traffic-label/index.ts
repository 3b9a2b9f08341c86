/**
 * `traffic-label`: the first rule that matches sets request headers, chosen among its actions by weight. Later plugins
 * (`traffic-split`, say) and upstreams see them.
 *
 * Exact over all workers of the node. Fails open: a configuration that cannot be used is left out.
 */

import { definePlugin, Type, type Exchange, type PhaseResult, type PluginHost } from "../../plugin/index.ts";
import { checkHeaderMap, compileFieldValue, type HeaderMap } from "../../plugin/header-map.ts";
import { contentHash } from "../../lib/content-hash.ts";
import { checkExpression, compileExpression, type Expression } from "../../lib/expression.ts";
import type { Template } from "../../lib/template.ts";
import { NO_CHOICE, WeightedChoice } from "../traffic/weighted-choice.ts";

const Action = Type.Object({
  set_headers: Type.Optional(
    Type.Unsafe<HeaderMap>({
      type: "object",
      minProperties: 1,
      description: "Request headers that are set; text may hold $variables",
    }),
  ),
  weight: Type.Integer({
    default: 1,
    minimum: 1,
    description: "Share of the action among those of its rule",
  }),
});

const Config = Type.Object({
  rules: Type.Array(
    Type.Object({
      match: Type.Optional(
        Type.Unsafe<Expression>({
          type: "array",
          items: { anyOf: [{ type: "array" }, { type: "string" }] },
          minItems: 1,
          description: "Condition over variables; absent: every request",
        }),
      ),
      actions: Type.Array(Action, { minItems: 1, description: "One of these is taken" }),
    }),
    { minItems: 1, description: "The first that matches counts" },
  ),
});

/** The keys that an action may have. */
const ACTION_KEYS: ReadonlySet<string> = new Set(["set_headers", "weight"]);

export default definePlugin({
  name: "traffic-label",
  version: "0.1.0",
  priority: 967,
  perOwner: true,
  config: Config,
  check(config) {
    for (const { match, actions } of config.rules) {
      const reason = checkExpression(match ?? []);
      if (reason !== null)
        return `failed to validate the 'match' expression: ${JSON.stringify(match)} err: ${reason}`;
      for (const action of actions) {
        const unknown = Object.keys(action).find((key) => !ACTION_KEYS.has(key));
        if (unknown !== undefined) return `not supported action: ${unknown}`;
        const fault = checkHeaderMap(action.set_headers);
        if (fault !== null) return `failed to validate the 'set_headers' action: ${fault}`;
      }
    }
    return null;
  },
  compile(config, host) {
    const rules = config.rules.map((rule, i) => new LabelRule(rule, i, host));
    return {
      access(ctx): PhaseResult {
        for (let i = 0; i < rules.length; i++) {
          if (rules[i].matches(ctx) && rules[i].apply(ctx, host.ownerOf(ctx))) return undefined;
        }
        return undefined;
      },
    };
  },
});

interface HeaderValue {
  name: string;
  value: Template;
}

class LabelRule {
  readonly matches: (ctx: Exchange) => boolean;
  readonly #choice: WeightedChoice;
  readonly #actions: readonly (readonly HeaderValue[])[];

  constructor(
    rule: { match?: Expression; actions: { set_headers?: HeaderMap; weight: number }[] },
    index: number,
    host: PluginHost,
  ) {
    const condition = compileExpression(rule.match ?? []);
    this.matches = (ctx) => condition.evaluate(ctx);
    this.#actions = rule.actions.map(({ set_headers: headers }) =>
      Object.entries(headers ?? {}).map(([name, value]) => ({ name, value: compileFieldValue(value) })),
    );
    this.#choice = new WeightedChoice(
      rule.actions.map(({ weight }) => weight),
      `:traffic-label:${contentHash(rule)}:${index}`,
      host.dictionary,
    );
  }

  /** False: the action that was chosen does nothing, and the next rule is asked, as APISIX does it. */
  apply(ctx: Exchange, owner: string): boolean {
    const index = this.#choice.next(owner);
    const headers = index === NO_CHOICE ? [] : this.#actions[index];
    for (let i = 0; i < headers.length; i++)
      ctx.request.headers.set(headers[i].name, headers[i].value.render(ctx));
    return headers.length > 0;
  }
}
