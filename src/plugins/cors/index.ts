/**
 * `cors`: tells browsers which pages of other origins may read the answer (Fetch standard, CORS protocol), and
 * answers OPTIONS requests itself.
 *
 * A request from another origin is not refused: it gets an answer without these headers, which the browser then
 * keeps from the page. `Vary: Origin` tells caches that the answer depends on the origin, unless `allow_origins` is `*`;
 * as in APISIX, that holds for lists by pattern or by name as well.
 */

import { definePlugin, Type, type Exchange, type HeaderList } from "../../plugin/index.ts";
import { wireText } from "../../lib/field-value.ts";
import { checkAlternatives } from "../../lib/pattern-list.ts";
import { admits, compileOriginPatterns, compileOrigins, NamedOrigins, type Origins } from "./origins.ts";

const ORIGINS_PATTERN = "^(\\*|\\*\\*|null|\\w+://[^,]+(,\\w+://[^,]+)*)$";
const ALL_METHODS = "GET,POST,PUT,DELETE,PATCH,HEAD,OPTIONS,CONNECT,TRACE";

/** Where the origin is kept that the client named: plugins may change the header for the upstream. */
const ORIGIN_VARIABLE = "cors_original_origin";

/** Set where the origin may not read the answer, for plugins that would let everybody read it otherwise. */
export const CORS_REFUSED = "cors_refused";

const patterns = (description: string) =>
  Type.Optional(
    Type.Array(Type.String({ minLength: 1, maxLength: 4096 }), {
      minItems: 1,
      uniqueItems: true,
      description,
    }),
  );

export default definePlugin({
  name: "cors",
  version: "0.1.0",
  priority: 4000,
  config: Type.Object({
    allow_origins: Type.String({
      pattern: ORIGINS_PATTERN,
      default: "*",
      description: "Origins between commas; `*`: all, without credentials; `**`: all, by name (beware)",
    }),
    allow_methods: Type.String({
      default: "*",
      description: "Methods between commas; `*`: all, without credentials; `**`: all, by name",
    }),
    allow_headers: Type.String({
      default: "*",
      description:
        "Request headers between commas; `*`: all, without credentials; `**`: those that are asked for",
    }),
    expose_headers: Type.Optional(
      Type.String({ description: "Headers of the answer that pages may read, between commas" }),
    ),
    max_age: Type.Integer({
      default: 5,
      description: "Seconds for which browsers may keep a preflight's answer; -1: none",
    }),
    allow_credential: Type.Boolean({
      default: false,
      description: "Let pages send cookies and the like; then no other field may be `*`",
    }),
    allow_origins_by_regex: patterns(
      "Regular expressions; origins that one of them matches, instead of allow_origins",
    ),
    allow_origins_by_metadata: patterns("Names of lists in allow_origins of the plugin's metadata"),
    timing_allow_origins: Type.Optional(
      Type.String({
        pattern: ORIGINS_PATTERN,
        description: "Origins that may read timings (Timing-Allow-Origin), written as allow_origins",
      }),
    ),
    timing_allow_origins_by_regex: patterns(
      "Regular expressions; origins that one of them matches, instead of timing_allow_origins",
    ),
  }),
  metadata: Type.Object({
    allow_origins: Type.Optional(
      Type.Unsafe<Record<string, string>>({
        type: "object",
        additionalProperties: { type: "string", pattern: ORIGINS_PATTERN },
        description: "Lists of origins by name",
      }),
    ),
  }),
  check(config) {
    const wildcards = [
      config.allow_origins,
      config.allow_methods,
      config.allow_headers,
      config.expose_headers,
      config.timing_allow_origins,
    ];
    if (config.allow_credential && wildcards.includes("*")) {
      return "you can not set '*' for other option when 'allow_credential' is true";
    }
    return (
      checkAlternatives(config.allow_origins_by_regex) ??
      checkAlternatives(config.timing_allow_origins_by_regex)
    );
  },
  compile(config, host) {
    const readers = new Readers(
      config.allow_origins,
      config.allow_origins_by_regex,
      config.allow_origins_by_metadata === undefined
        ? null
        : new NamedOrigins(config.allow_origins_by_metadata, () => host.metadata()),
    );
    const timing = timingOrigins(config.timing_allow_origins, config.timing_allow_origins_by_regex);
    const needsOrigin = readers.needsOrigin || timing !== null;
    const varies = config.allow_origins !== "*";
    const methods = wireText(config.allow_methods === "**" ? ALL_METHODS : config.allow_methods);
    const requestHeaders = config.allow_headers === "**" ? null : wireText(config.allow_headers);
    const exposed = wireText(config.expose_headers ?? "");
    const maxAge = String(config.max_age);

    const allow = (ctx: Exchange, headers: HeaderList, allowed: string): void => {
      headers.set("Access-Control-Allow-Origin", allowed);
      setOrDelete(headers, "Access-Control-Allow-Methods", methods);
      headers.set("Access-Control-Max-Age", maxAge);
      if (exposed !== "") headers.set("Access-Control-Expose-Headers", exposed);
      const asked = requestHeaders ?? ctx.request.headers.joined("access-control-request-headers") ?? "";
      setOrDelete(headers, "Access-Control-Allow-Headers", asked);
      if (config.allow_credential) headers.set("Access-Control-Allow-Credentials", "true");
    };

    return {
      rewrite(ctx) {
        if (needsOrigin) ctx.setVariable(ORIGIN_VARIABLE, ctx.request.headers.get("origin") ?? "");
        return ctx.request.method === "OPTIONS" ? ctx.answer(200) : undefined;
      },
      responseHeaders(ctx) {
        const { headers } = ctx.response;
        const origin = needsOrigin ? originOf(ctx) : undefined;
        const allowed = readers.allowed(origin);
        if (varies) headers.add("Vary", "Origin");
        if (allowed === undefined) ctx.setVariable(CORS_REFUSED, "1");
        else allow(ctx, headers, allowed);
        if (timing === null) return;
        const timed = timing.allowed(origin);
        if (timed !== undefined && admits(timed, origin)) headers.set("Timing-Allow-Origin", timed);
      },
    };
  },
});

/** Who may read answers, out of the three fields that say so. */
class Readers {
  readonly #own: Origins;
  readonly #named: NamedOrigins | null;
  /** Named lists alone count while `allow_origins` stays at its default. */
  readonly #usesOwn: boolean;
  /** False: the answer is the same whoever asks. */
  readonly needsOrigin: boolean;

  constructor(origins: string, regexes: readonly string[] | undefined, named: NamedOrigins | null) {
    this.#own = regexes === undefined ? compileOrigins(origins) : compileOriginPatterns(regexes);
    this.#named = named;
    this.#usesOwn = named === null || origins !== "*";
    this.needsOrigin = origins !== "*" || regexes !== undefined || named !== null;
  }

  allowed(origin: string | undefined): string | undefined {
    const named = this.#named === null ? undefined : this.#named.allowed(origin);
    if (named !== undefined || !this.#usesOwn) return named;
    const own = this.#own.allowed(origin);
    return admits(own, origin) ? own : undefined;
  }
}

function timingOrigins(origins: string | undefined, regexes: readonly string[] | undefined): Origins | null {
  if (regexes !== undefined) return compileOriginPatterns(regexes);
  return origins === undefined ? null : compileOrigins(origins);
}

/** The origin that the client named. An answer that comes before `rewrite` finds the header as it was sent. */
function originOf(ctx: Exchange): string | undefined {
  const kept = ctx.variable(ORIGIN_VARIABLE);
  if (kept === undefined) return ctx.request.headers.get("origin");
  return kept === "" ? undefined : kept;
}

function setOrDelete(headers: HeaderList, name: string, value: string): void {
  if (value === "") headers.delete(name.toLowerCase());
  else headers.set(name, value);
}
