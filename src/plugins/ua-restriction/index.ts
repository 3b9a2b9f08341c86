/**
 * `ua-restriction`: lets only listed user agents pass, or keeps listed ones out, by their `User-Agent`.
 *
 * Fails closed: without the header the answer is 403 unless `bypass_missing` is set, and so it is for a value that
 * is too long for a pattern. The header is the client's own word: this keeps out the honest, not the malicious.
 */

import { definePlugin, Type } from "../../plugin/index.ts";
import { checkPatterns, PatternList } from "../../lib/pattern-list.ts";

const agents = (description: string) =>
  Type.Optional(Type.Array(Type.String({ minLength: 1 }), { minItems: 1, description }));

export default definePlugin({
  name: "ua-restriction",
  version: "0.1.0",
  priority: 2999,
  failsClosed: true,
  config: Type.Object(
    {
      bypass_missing: Type.Boolean({ default: false, description: "Let requests without the header pass" }),
      allowlist: agents("Regular expressions; only what one of them matches passes"),
      denylist: agents("Regular expressions; what one of them matches is refused"),
      message: Type.String({
        minLength: 1,
        maxLength: 1024,
        default: "Not allowed",
        description: "Message of a refusal",
      }),
    },
    { oneOf: [{ required: ["allowlist"] }, { required: ["denylist"] }] },
  ),
  check(config) {
    return checkPatterns(config.allowlist) ?? checkPatterns(config.denylist);
  },
  compile(config) {
    const passesListed = config.allowlist !== undefined;
    const listed = new PatternList(config.allowlist ?? config.denylist ?? []);
    const body = { message: config.message };
    return {
      access(ctx) {
        const { names, values } = ctx.request.headers;
        let at = names.indexOf("user-agent");
        if (at === -1) return config.bypass_missing ? undefined : ctx.answer(403, body);
        // A header that is sent twice counts as listed as soon as one of its values is.
        for (; at !== -1; at = names.indexOf("user-agent", at + 1)) {
          if (!listed.matches(values[at].trim(), !passesListed)) continue;
          return passesListed ? undefined : ctx.answer(403, body);
        }
        return passesListed ? ctx.answer(403, body) : undefined;
      },
    };
  },
});
