/**
 * `fault-injection`: answers a share of the requests in place of the upstream, or lets them wait first, so that one can see
 * how clients bear it.
 *
 * Runs before all other plugins of the route. Fails open: what it does not choose goes on.
 */

import { definePlugin, Type, type Exchange } from "../../plugin/index.ts";
import { checkHeaderMap, compileHeaderMap, headerMap } from "../../plugin/header-map.ts";
import { Waits } from "../../plugin/waits.ts";
import { checkExpression, compileExpression, type Expression } from "../../lib/expression.ts";
import { compileTemplate } from "../../lib/template.ts";

const Percentage = Type.Optional(
  Type.Integer({ minimum: 0, maximum: 100, description: "Share of the requests; absent: all" }),
);

const Vars = Type.Optional(
  Type.Array(Type.Unsafe<Expression>({ type: "array" }), {
    maxItems: 20,
    description: "Expressions; requests for which one of them holds",
  }),
);

export default definePlugin({
  name: "fault-injection",
  version: "0.1.0",
  priority: 11000,
  config: Type.Object(
    {
      abort: Type.Optional(
        Type.Object(
          {
            http_status: Type.Integer({ minimum: 200, description: "Status of the answer" }),
            body: Type.Optional(
              Type.String({ minLength: 0, description: "Body of the answer; may hold $variables" }),
            ),
            headers: Type.Optional(headerMap("Header fields of the answer; text may hold $variables")),
            percentage: Percentage,
            vars: Vars,
          },
          { description: "Answer in place of the upstream" },
        ),
      ),
      delay: Type.Optional(
        Type.Object(
          {
            duration: Type.Number({ minimum: 0, description: "Seconds to wait" }),
            percentage: Percentage,
            vars: Vars,
          },
          { description: "Wait before anything else" },
        ),
      ),
    },
    { minProperties: 1 },
  ),
  check({ abort, delay }) {
    if (abort !== undefined && abort.http_status > 999) {
      return `property "abort" validation failed: property "http_status" validation failed: expected ${abort.http_status} to be at most 999`;
    }
    return checkVars(abort?.vars) ?? checkVars(delay?.vars) ?? checkHeaderMap(abort?.headers);
  },
  compile({ abort, delay }) {
    const abortFor = abort === undefined ? NOBODY : compileChoice(abort.percentage, abort.vars);
    const delayFor = delay === undefined ? NOBODY : compileChoice(delay.percentage, delay.vars);
    const status = abort?.http_status ?? 200;
    const body = abort?.body === undefined ? undefined : compileTemplate(abort.body);
    const headers = abort?.headers === undefined ? undefined : compileHeaderMap(abort.headers);
    const delayMs = (delay?.duration ?? 0) * 1000;
    const waits = new Waits();

    const answerOf = (ctx: Exchange) => ctx.answer(status, body?.render(ctx), headers?.(ctx));
    const answerLater = async (ctx: Exchange, aborts: boolean) => {
      await waits.wait(ctx, delayMs);
      return aborts ? answerOf(ctx) : undefined;
    };
    const rewrite = (ctx: Exchange) => {
      // Both are decided before the wait, by the request as it came.
      const aborts = abortFor(ctx);
      if (delayFor(ctx)) return answerLater(ctx, aborts);
      return aborts ? answerOf(ctx) : undefined;
    };
    return delay === undefined ? { rewrite } : { rewrite, log: (ctx) => waits.end(ctx) };
  },
});

const NOBODY = (): boolean => false;

/** Which requests are chosen: a random share of those for which one of the expressions holds. */
function compileChoice(
  percentage: number | undefined,
  vars: readonly Expression[] | undefined,
): (ctx: Exchange) => boolean {
  const share = percentage ?? 100;
  const conditions = vars?.map((one) => compileExpression(one));
  return (ctx) => {
    if (share < 100 && Math.random() * 100 >= share) return false;
    if (conditions === undefined) return true;
    for (let i = 0; i < conditions.length; i++) if (conditions[i].evaluate(ctx)) return true;
    return false;
  };
}

function checkVars(vars: readonly Expression[] | undefined): string | null {
  for (const one of vars ?? []) {
    const reason = checkExpression(one);
    if (reason !== null) return reason;
  }
  return null;
}
