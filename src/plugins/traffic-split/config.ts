/** Schema of `traffic-split`: APISIX's, with `sticky` besides. */

import { Type, type Static } from "../../plugin/index.ts";
import { Id, UpstreamSchema } from "../../plugin/upstream-config.ts";
import type { Expression } from "../../lib/expression.ts";

/** A token (RFC 9110 5.6.2), as names of cookies and fields are. */
const TOKEN = "^[!#$%&'*+.^_`|~0-9A-Za-z-]+$";

export const Sticky = Type.Object(
  {
    cookie: Type.Optional(
      Type.String({ pattern: TOKEN, maxLength: 128, description: "Name of a cookie that the gateway sets" }),
    ),
    header: Type.Optional(
      Type.String({
        pattern: TOKEN,
        maxLength: 128,
        description: "Request header whose value tells clients apart",
      }),
    ),
    max_age: Type.Optional(
      Type.Integer({
        minimum: 1,
        description: "Seconds that the cookie lives; absent: until the browser ends",
      }),
    ),
  },
  { additionalProperties: false, description: "Keeps a client with the upstream that it had first" },
);

const Entry = Type.Object({
  upstream_id: Type.Optional(Type.Unsafe<string | number>({ ...Id, description: "An upstream resource" })),
  upstream: Type.Optional(
    Type.Unsafe<object>({ ...UpstreamSchema, description: "An upstream that stands here" }),
  ),
  weight: Type.Integer({
    default: 1,
    minimum: 0,
    description: "Its share is this divided by the sum of the weights",
  }),
});

export const Config = Type.Object({
  rules: Type.Optional(
    Type.Array(
      Type.Object({
        match: Type.Optional(
          Type.Array(
            Type.Object({
              vars: Type.Optional(
                Type.Unsafe<Expression>({ type: "array", description: "Condition over variables" }),
              ),
            }),
            { description: "The rule is for requests for which one of these holds; absent: for all" },
          ),
        ),
        weighted_upstreams: Type.Array(Entry, {
          default: [{ weight: 1 }],
          minItems: 1,
          maxItems: 20,
          description: "Where they go; an entry without an upstream is the route's own",
        }),
        sticky: Type.Optional(Sticky),
      }),
      { description: "The first that matches counts" },
    ),
  ),
});

export type SplitConfig = Static<typeof Config>;
export type RuleConfig = NonNullable<SplitConfig["rules"]>[number];
