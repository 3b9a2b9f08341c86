/**
 * `redirect`: sends the client elsewhere: to a fixed or composed URI, to one made from the path by a pattern, or
 * to HTTPS. A path that the pattern does not match is proxied.
 *
 * A path of the request never becomes a host: only a configuration that begins with `//` leads to another one in
 * that way.
 */

import { definePlugin, Type, type Exchange } from "../../plugin/index.ts";
import { rejectionStatus } from "../../plugin/schema.ts";
import { checkPattern, compilePattern, compileReplacement } from "../../lib/pattern.ts";
import { compileTemplate } from "../../lib/template.ts";
import { encodePath, encodeUnfit } from "../../lib/uri.ts";

/** APISIX's pattern to the letter: refusals show it. */
const URI_PATTERN = "(\\\\\\$[0-9a-zA-Z_]+)|\\$\\{([0-9a-zA-Z_]+)\\}|\\$([0-9a-zA-Z_]+)|(\\$|[^$\\\\]+)";

/** Names of variables end here before a dot, other than in other plugins: braces say so to the template. */
const BARE_VARIABLE = /(?<!\\)\$([0-9a-zA-Z_]+)/g;

const HTTPS_PORT = 443;
const SLASH = 47;
const BACKSLASH = 92;

export default definePlugin({
  name: "redirect",
  version: "0.1.0",
  priority: 900,
  config: Type.Object(
    {
      ret_code: { ...rejectionStatus(302), description: "Status of the answer" },
      uri: Type.Optional(
        Type.String({ minLength: 2, pattern: URI_PATTERN, description: "Where to; may hold `$variables`" }),
      ),
      regex_uri: Type.Optional(
        Type.Array(Type.String(), {
          minItems: 2,
          maxItems: 2,
          description: "A pattern for the path, and what replaces its match; `$1` is the first group",
        }),
      ),
      http_to_https: Type.Optional(
        Type.Boolean({
          description: "Redirect to the same URI under https; 301, or 308 where there is a body",
        }),
      ),
      encode_uri: Type.Boolean({ default: false, description: "Percent-encode the path of the new URI" }),
      append_query_string: Type.Boolean({
        default: false,
        description: "Append the query of the request to the new URI",
      }),
    },
    { oneOf: [{ required: ["uri"] }, { required: ["regex_uri"] }, { required: ["http_to_https"] }] },
  ),
  check(config) {
    if (config.regex_uri !== undefined) {
      const [pattern, replacement] = config.regex_uri;
      const reason = checkPattern(pattern);
      if (reason !== null) return `invalid regex_uri (${pattern}, ${replacement}), err:${reason}`;
    }
    return config.http_to_https === true && config.append_query_string
      ? "only one of `http_to_https` and `append_query_string` can be configured."
      : null;
  },
  compile(config, host) {
    const compose = compileTarget(config.uri, config.regex_uri);
    const namesHost = (config.uri ?? config.regex_uri?.[1] ?? "").startsWith("//");
    const secure =
      config.http_to_https === true
        ? compileTemplate(`https://$host${portSuffix(host.attributes.https_port)}\${request_uri}`)
        : null;

    return {
      rewrite(ctx) {
        if (secure !== null && !isSecure(ctx)) {
          const { method } = ctx.request;
          const status = method === "GET" || method === "HEAD" ? 301 : 308;
          return ctx.answer(status, undefined, { Location: encodeUnfit(secure.render(ctx)) });
        }
        let uri = compose(ctx);
        if (uri === null) return undefined;
        const question = uri.indexOf("?");
        if (config.encode_uri) {
          uri = question === -1 ? encodePath(uri) : encodePath(uri.slice(0, question)) + uri.slice(question);
        }
        const { query } = ctx.request;
        if (config.append_query_string && query !== "") uri += (question === -1 ? "?" : "&") + query;
        if (!namesHost) uri = onSameHost(uri);
        return ctx.answer(config.ret_code, undefined, { Location: encodeUnfit(uri) });
      },
    };
  },
});

/** The new URI of a request; null: it is not redirected. */
function compileTarget(
  uri: string | undefined,
  regexUri: readonly string[] | undefined,
): (ctx: Exchange) => string | null {
  if (uri !== undefined) {
    const template = compileTemplate(uri.replace(BARE_VARIABLE, "$${$1}"));
    return (ctx) => template.render(ctx);
  }
  if (regexUri === undefined) return () => null;
  const pattern = compilePattern(regexUri[0]);
  const replacement = compileReplacement(regexUri[1]);
  return ({ request: { path } }) => (pattern.test(path) ? pattern.replace(path, replacement) : null);
}

/** Browsers take `//name` for a host, and a backslash for a slash there (WHATWG URL, relative slash state). */
function onSameHost(uri: string): string {
  if (uri.charCodeAt(0) !== SLASH) return uri;
  let last = 0;
  while (uri.charCodeAt(last + 1) === SLASH) last++;
  if (uri.charCodeAt(last + 1) === BACKSLASH) return `/%5C${uri.slice(last + 2)}`;
  return last === 0 ? uri : uri.slice(last);
}

/** What a proxy in front says counts, if it may be trusted: what others say of it is dropped before. */
function isSecure(ctx: Exchange): boolean {
  return (ctx.request.headers.get("x-forwarded-proto") ?? ctx.client.scheme) === "https";
}

function portSuffix(port: unknown): string {
  const isOwn = Number.isInteger(port) && Number(port) > 0 && Number(port) <= 65_535 && port !== HTTPS_PORT;
  return isOwn ? `:${String(port)}` : "";
}
