/**
 * `echo`: replaces the body of an answer, or puts text before and after it; for tests and demonstrations.
 *
 * Fails open: it decides nothing.
 */

import { definePlugin, Type, type Exchange } from "../../plugin/index.ts";
import { checkHeaderMap } from "../../plugin/header-map.ts";
import { wireText } from "../../lib/field-value.ts";
import { dropBodyFacts } from "../../plugin/body-facts.ts";

const NOTHING = Buffer.alloc(0);

export default definePlugin({
  name: "echo",
  version: "0.1.0",
  priority: 412,
  config: Type.Object(
    {
      before_body: Type.Optional(Type.String({ description: "Text before the body" })),
      body: Type.Optional(Type.String({ description: "Text in the place of the body" })),
      after_body: Type.Optional(Type.String({ description: "Text after the body" })),
      headers: Type.Optional(
        Type.Unsafe<Record<string, string | number>>({
          type: "object",
          minProperties: 1,
          description: "Header fields of the answer, set as they are written",
        }),
      ),
    },
    {
      minProperties: 1,
      anyOf: [{ required: ["before_body"] }, { required: ["body"] }, { required: ["after_body"] }],
    },
  ),
  check: (config) => checkHeaderMap(config.headers),
  compile(config) {
    const fields = Object.entries(config.headers ?? {}).map(([name, value]) => ({
      name,
      value: wireText(String(value)),
    }));
    const before = Buffer.from(config.before_body ?? "");
    const after = Buffer.from(config.after_body ?? "");
    const whole = config.body === undefined ? null : Buffer.concat([before, Buffer.from(config.body), after]);
    /** Answers whose first chunk is through. */
    const begun = new WeakSet<Exchange>();

    return {
      responseHeaders(ctx) {
        const { headers } = ctx.response;
        dropBodyFacts(headers);
        for (let i = 0; i < fields.length; i++) {
          if (fields[i].value === "") headers.delete(fields[i].name.toLowerCase());
          else headers.set(fields[i].name, fields[i].value);
        }
      },
      responseBody(ctx, chunk, last) {
        const isFirst = !begun.has(ctx);
        if (isFirst && !last) begun.add(ctx);
        if (whole !== null) return isFirst ? whole : NOTHING;
        const start = isFirst ? before : NOTHING;
        const end = last ? after : NOTHING;
        return start.length === 0 && end.length === 0 ? chunk : Buffer.concat([start, chunk, end]);
      },
    };
  },
});
