/**
 * `uri-blocker`: refuses requests whose path and query match a pattern.
 *
 * Patterns see the normalised path (decoded, dot segments resolved) and the query as it was sent, so an unusual
 * spelling of a path does not get past them. Fails closed: what is too long for a pattern is refused.
 */

import { definePlugin, Type } from "../../plugin/index.ts";
import { alternatives, checkAlternatives, PatternList } from "../../lib/pattern-list.ts";

export default definePlugin({
  name: "uri-blocker",
  version: "0.1.0",
  priority: 2900,
  failsClosed: true,
  config: Type.Object({
    block_rules: Type.Array(Type.String({ minLength: 1, maxLength: 4096 }), {
      uniqueItems: true,
      description: "Regular expressions; a request that one of them matches is refused",
    }),
    rejected_code: Type.Integer({ minimum: 200, default: 403, description: "Status of a refusal" }),
    rejected_msg: Type.Optional(
      Type.String({ minLength: 1, description: "Sent as error_msg; absent: no body" }),
    ),
    case_insensitive: Type.Boolean({ default: false, description: "Take upper and lower case for the same" }),
  }),
  check(config) {
    if (config.rejected_code > 999) {
      return `property "rejected_code" validation failed: expected ${config.rejected_code} to be at most 999`;
    }
    return checkAlternatives(config.block_rules, config.case_insensitive ? "i" : "");
  },
  compile(config) {
    const blocked = new PatternList([alternatives(config.block_rules)], config.case_insensitive ? "i" : "");
    const body = config.rejected_msg === undefined ? undefined : { error_msg: config.rejected_msg };
    return {
      rewrite(ctx) {
        const { path, query } = ctx.request;
        if (!blocked.matches(query === "" ? path : `${path}?${query}`, true)) return undefined;
        return ctx.answer(config.rejected_code, body);
      },
    };
  },
});
