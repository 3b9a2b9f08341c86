/**
 * `tls-fingerprint`: lets only clients with listed TLS fingerprints (JA3, JA4) pass, or keeps listed ones out, and tells
 * the fingerprints to the upstream.
 *
 * In a global rule it decides at the client's hello, before the handshake costs anything; on a route it answers 403.
 * Fails closed: with `allow`, a connection without TLS has nothing that is listed. A fingerprint says which program
 * speaks, and can be imitated: this keeps out tools, not people.
 */

import { definePlugin, Type } from "../../plugin/index.ts";

const fingerprints = (description: string) =>
  Type.Optional(
    Type.Array(Type.String({ pattern: "^(?:[0-9a-f]{32}|t[0-9a-z_]{0,34}\\*|t[0-9a-z_]{35})$" }), {
      minItems: 1,
      maxItems: 10_000,
      description,
    }),
  );

const headerName = (description: string) =>
  Type.Optional(Type.String({ pattern: "^[0-9A-Za-z-]+$", maxLength: 256, description }));

export default definePlugin({
  name: "tls-fingerprint",
  version: "0.1.0",
  priority: 3010,
  failsClosed: true,
  config: Type.Object(
    {
      allow: fingerprints("JA3 or JA4; only these pass. A JA4 may end in `*`"),
      deny: fingerprints("JA3 or JA4 that are refused. A JA4 may end in `*`"),
      ja3_header: headerName("Field in which the upstream gets the JA3; what the client sent in it goes"),
      ja4_header: headerName("Field in which the upstream gets the JA4; what the client sent in it goes"),
      message: Type.String({
        minLength: 1,
        maxLength: 1024,
        default: "Not allowed",
        description: "Message of a refusal on a route",
      }),
    },
    { minProperties: 1 },
  ),
  compile(config) {
    const allowed = config.allow === undefined ? null : new FingerprintList(config.allow);
    const denied = config.deny === undefined ? null : new FingerprintList(config.deny);
    const body = { message: config.message };
    const { ja3_header: ja3Header, ja4_header: ja4Header } = config;
    const passes = (ja3: string, ja4: string): boolean =>
      (allowed === null || allowed.has(ja3, ja4)) && (denied === null || !denied.has(ja3, ja4));
    const decides = allowed !== null || denied !== null;
    return {
      clientHello: decides
        ? (hello, connection) => {
            if (!passes(hello.ja3, hello.ja4)) connection.close();
          }
        : undefined,
      rewrite:
        ja3Header === undefined && ja4Header === undefined
          ? undefined
          : (ctx) => {
              tell(ctx.request.headers, ja3Header, ctx.variable("tls_ja3"));
              tell(ctx.request.headers, ja4Header, ctx.variable("tls_ja4"));
            },
      access: decides
        ? (ctx) =>
            passes(ctx.variable("tls_ja3") ?? "", ctx.variable("tls_ja4") ?? "")
              ? undefined
              : ctx.answer(403, body)
        : undefined,
    };
  },
});

interface Fields {
  set(name: string, value: string): void;
  delete(name: string): void;
}

function tell(headers: Fields, name: string | undefined, value: string | undefined): void {
  if (name === undefined) return;
  if (value === undefined) headers.delete(name.toLowerCase());
  else headers.set(name, value);
}

class FingerprintList {
  readonly #exact: ReadonlySet<string>;
  readonly #beginnings: readonly string[];

  constructor(listed: readonly string[]) {
    this.#exact = new Set(listed.filter((each) => !each.endsWith("*")));
    this.#beginnings = listed.filter((each) => each.endsWith("*")).map((each) => each.slice(0, -1));
  }

  has(ja3: string, ja4: string): boolean {
    if (this.#exact.has(ja4) || this.#exact.has(ja3)) return true;
    for (const beginning of this.#beginnings) if (ja4.startsWith(beginning)) return true;
    return false;
  }
}
