/**
 * `proxy-rewrite`: changes what goes upstream: target, method, host and header fields.
 *
 * Variables (`$uri`, `$args`), conditions and logs keep showing what the client asked for.
 */

import { definePlugin, Type } from "../../plugin/index.ts";
import { oneOf } from "../../plugin/schema.ts";
import { isFieldName } from "../../lib/field-value.ts";
import { checkPattern } from "../../lib/pattern.ts";
import { compileHeaderChanges, isGrouped, type HeadersConfig } from "./header-changes.ts";
import { compileRewriting } from "./target.ts";

const METHODS = [
  "GET",
  "POST",
  "PUT",
  "HEAD",
  "DELETE",
  "OPTIONS",
  "MKCOL",
  "COPY",
  "MOVE",
  "PROPFIND",
  "LOCK",
  "UNLOCK",
  "PATCH",
  "TRACE",
] as const;

const FIELD_VALUE = /^[^\x00-\x08\x0a-\x1f\x7f]*$/;
/** A dollar that is neither doubled nor before a group's number. */
const WRONG_REPLACEMENT = /^(?:[^$]|\$\$|\$\d|\$\{\d+\})*\$(?!\$|\d|\{\d+\})/;

const TEXT_OR_NUMBER = [{ type: "string" }, { type: "number" }];
const FIELDS = {
  type: "object",
  minProperties: 1,
  patternProperties: {
    "^[^:]+$": {
      oneOf: [...TEXT_OR_NUMBER, { type: "array", minItems: 1, items: { oneOf: TEXT_OR_NUMBER } }],
    },
  },
};

const Headers = Type.Unsafe<HeadersConfig>({
  description: "Header fields of the request; values may hold `$variables` and groups of `regex_uri`",
  oneOf: [
    {
      type: "object",
      minProperties: 1,
      additionalProperties: false,
      properties: {
        add: { ...FIELDS, description: "Fields to add to those of the same name" },
        set: { ...FIELDS, description: "Fields that replace those of the same name" },
        remove: {
          type: "array",
          minItems: 1,
          items: { type: "string", pattern: "^[^:]+$" },
          description: "Names of fields to remove",
        },
      },
    },
    {
      type: "object",
      minProperties: 1,
      patternProperties: { "^[^:]+$": { oneOf: TEXT_OR_NUMBER } },
    },
  ],
});

export default definePlugin({
  name: "proxy-rewrite",
  version: "0.1.0",
  priority: 1008,
  config: Type.Object(
    {
      uri: Type.Optional(
        Type.String({
          minLength: 1,
          maxLength: 4096,
          pattern: "^\\/.*",
          description: "New target, with or without a query; may hold `$variables`",
        }),
      ),
      method: Type.Optional(oneOf(METHODS, { description: "New method" })),
      regex_uri: Type.Optional(
        Type.Array(Type.String(), {
          minItems: 2,
          description:
            "Pairs of a pattern for the path and what replaces its match; the first that matches counts. Less than `uri`",
        }),
      ),
      host: Type.Optional(
        Type.String({ pattern: "^[0-9a-zA-Z-.]+(:\\d{1,5})?$", description: "New Host header" }),
      ),
      headers: Type.Optional(Headers),
      use_real_request_uri_unsafe: Type.Boolean({
        default: false,
        description: "Send the target as the client wrote it, not normalised. Unsafe",
      }),
    },
    { minProperties: 1 },
  ),
  check(config) {
    return (
      (config.regex_uri === undefined ? null : checkRules(config.regex_uri)) ??
      (config.headers === undefined ? null : checkHeaders(config.headers))
    );
  },
  compile(config) {
    const rewriting = compileRewriting(config);
    const changeHeaders = config.headers === undefined ? null : compileHeaderChanges(config.headers);
    const { host, method } = config;

    return {
      rewrite(ctx) {
        if (host !== undefined) ctx.upstreamHostOverride = host;
        const rewritten = rewriting === null ? null : rewriting(ctx);
        if (rewritten !== null && rewritten.target !== null) ctx.upstreamTarget = rewritten.target;
        if (changeHeaders !== null) changeHeaders(ctx, rewritten === null ? null : rewritten.match);
        if (method !== undefined) ctx.request.method = method;
      },
    };
  },
});

function checkRules(pairs: readonly string[]): string | null {
  if (pairs.length % 2 !== 0) return "The length of regex_uri should be an even number";
  for (let i = 0; i < pairs.length; i += 2) {
    const replacement = pairs[i + 1];
    const reason =
      checkPattern(pairs[i]) ??
      (WRONG_REPLACEMENT.test(replacement) ? "invalid capturing variable name found" : null);
    if (reason !== null) return `invalid regex_uri(${pairs[i]}, ${replacement}): ${reason}`;
  }
  return null;
}

function checkHeaders(headers: HeadersConfig): string | null {
  const grouped = isGrouped(headers) ? headers : { set: headers };
  for (const fields of [grouped.add, grouped.set]) {
    for (const [name, given] of Object.entries(fields ?? {})) {
      if (name === "") return "invalid field length in header";
      if (!isFieldName(name)) return "invalid field character in header";
      for (const value of Array.isArray(given) ? given : [given]) {
        if (!FIELD_VALUE.test(String(value))) return "invalid value character in header";
      }
    }
  }
  return null;
}
