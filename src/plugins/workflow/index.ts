/**
 * `workflow`: the first rule whose case holds runs one action: an answer, or a limit with a configuration of its own. A
 * plugin that ran this way does nothing more for the request where it stands on the route itself.
 *
 * Fails closed, and as its actions do: see the limits. Requests for which no case holds go on.
 */

import {
  definePlugin,
  Type,
  type Exchange,
  type PhaseResult,
  type PluginDefinition,
  type PluginHandlers,
  type PluginHost,
} from "../../plugin/index.ts";
import { checkExpression, compileExpression, type Expression } from "../../lib/expression.ts";
import limitConn from "../limit-conn/index.ts";
import limitCount from "../limit-count/index.ts";
import limitReq from "../limit-req/index.ts";

const Config = Type.Object({
  rules: Type.Array(
    Type.Object({
      case: Type.Optional(
        Type.Unsafe<Expression>({
          type: "array",
          items: { anyOf: [{ type: "array" }, { type: "string" }] },
          minItems: 1,
          description: "Condition over variables; absent: every request",
        }),
      ),
      actions: Type.Array(
        Type.Unsafe<unknown[]>({
          type: "array",
          minItems: 1,
          description:
            "Name and configuration: `return` with `code`, `limit-count`, `limit-conn` or `limit-req`",
        }),
        { minItems: 1, description: "What is done; only the first counts" },
      ),
    }),
    { description: "The first whose case holds counts" },
  ),
});

const LIMITS = new Map(
  [limitConn, limitCount, limitReq].map((plugin) => [plugin.name, plugin as unknown as PluginDefinition]),
);
const RETURN = "return";
const REJECTED = { error_msg: "rejected by workflow" };

type RuleConfig = { case?: Expression; actions: unknown[][] };

export default definePlugin({
  name: "workflow",
  version: "0.1.0",
  priority: 1006,
  perOwner: true,
  // Its rules may be all that refuses requests.
  failsClosed: true,
  config: Config,
  check(config) {
    for (const { case: condition, actions } of config.rules) {
      const reason = condition === undefined ? null : checkExpression(condition);
      if (reason !== null) return `failed to validate the 'case' expression: ${reason}`;
      for (const [name, action] of actions) {
        if (name !== RETURN && !LIMITS.has(name as string)) return `unsupported action: ${String(name)}`;
        const fault = name === RETURN ? checkReturn(action) : null;
        if (fault !== null) return `failed to validate the 'return' action: ${fault}`;
        if (hasGroup(action))
          return `failed to validate the '${name as string}' action: group is not supported`;
      }
    }
    return null;
  },
  innerConfigs: ({ rules }) =>
    rules.flatMap(({ actions }) =>
      actions
        .filter(([name]) => name !== RETURN)
        .map((action) => ({
          kind: { plugin: action[0] as string },
          holder: action as unknown as Record<string, unknown>,
          key: 1,
          prefix: `failed to validate the '${action[0] as string}' action: `,
        })),
    ),
  compile(config, host) {
    const rules = config.rules.map((rule, i) => new WorkflowRule(rule, i, host));
    const endings = rules.filter((rule) => rule.log !== undefined);
    return {
      access(ctx) {
        for (let i = 0; i < rules.length; i++) if (rules[i].matches(ctx)) return rules[i].run(ctx);
        return undefined;
      },
      ...(endings.length > 0 && {
        log(ctx: Exchange) {
          for (const rule of endings) rule.log!(ctx);
        },
      }),
      dispose() {
        for (const rule of rules) rule.dispose();
      },
    };
  },
});

function checkReturn(action: unknown): string | null {
  const code = (action as { code?: unknown } | null | undefined)?.code;
  if (code === undefined) return 'property "code" is required';
  if (typeof code !== "number" || !Number.isInteger(code))
    return `property "code" validation failed: wrong type: expected integer, got ${typeof code}`;
  if (code < 200) return `property "code" validation failed: expected ${code} to be at least 200`;
  return code > 599 ? `property "code" validation failed: expected ${code} to be at most 599` : null;
}

/** Counters that rules share with others would make them depend on each other's settings. */
function hasGroup(action: unknown): boolean {
  return (action as { group?: unknown } | null | undefined)?.group !== undefined;
}

class WorkflowRule {
  readonly matches: (ctx: Exchange) => boolean;
  readonly #limit: string | null;
  readonly #handlers: PluginHandlers;

  constructor(rule: RuleConfig, index: number, host: PluginHost) {
    const condition = rule.case === undefined ? null : compileExpression(rule.case);
    this.matches = condition === null ? () => true : (ctx) => condition.evaluate(ctx);
    const [name, action] = rule.actions[0] as [string, Record<string, unknown>];
    const plugin = LIMITS.get(name);
    this.#limit = plugin === undefined ? null : name;
    if (plugin === undefined) {
      const status = (action as { code: number }).code;
      this.#handlers = { access: (ctx) => ctx.answer(status, REJECTED) };
    } else {
      // Equal limits of two rules count apart.
      const config = { ...action, _vid: index + 1 };
      this.#handlers = plugin.compile(config, host.hostOf(plugin));
    }
  }

  run(ctx: Exchange): PhaseResult {
    if (this.#limit !== null) ctx.skipPlugin(this.#limit);
    return this.#handlers.access!(ctx);
  }

  /** Of a limit that holds something until the end; it knows for which requests. */
  get log(): PluginHandlers["log"] {
    return this.#handlers.log;
  }

  dispose(): void {
    this.#handlers.dispose?.();
  }
}
