/**
 * `referer-restriction`: lets only requests pass that come from pages of listed hosts, or keeps those out.
 *
 * Fails closed: without a `Referer` that names a host the answer is 403, unless `bypass_missing` is set. Hosts are
 * compared without regard to case.
 */

import { definePlugin, Type } from "../../plugin/index.ts";

/** A page's address: its host, or an IPv6 address in brackets. Linear: no part can take what the next one needs. */
const REFERER = /^(?:https?:)?\/\/(\[[^\]]+\]|[^[\]:/?#]+)/;

const hosts = (description: string) =>
  Type.Optional(
    Type.Array(Type.String({ pattern: "^\\*$|^\\*?[0-9a-zA-Z-._\\[\\]:]+$" }), { minItems: 1, description }),
  );

export default definePlugin({
  name: "referer-restriction",
  version: "0.1.0",
  priority: 2990,
  failsClosed: true,
  config: Type.Object(
    {
      bypass_missing: Type.Boolean({
        default: false,
        description: "Let requests pass whose header is absent or names no host",
      }),
      whitelist: hosts("Hosts that pass; `*` at the start stands for anything"),
      blacklist: hosts("Hosts that are refused; `*` at the start stands for anything"),
      message: Type.String({
        minLength: 1,
        maxLength: 1024,
        default: "Your referer host is not allowed",
        description: "Message of a refusal",
      }),
    },
    { oneOf: [{ required: ["whitelist"] }, { required: ["blacklist"] }] },
  ),
  compile(config) {
    const passesListed = config.whitelist !== undefined;
    const listed = new HostList(config.whitelist ?? config.blacklist ?? []);
    const body = { message: config.message };
    return {
      access(ctx) {
        const referer = ctx.request.headers.get("referer");
        const found = referer === undefined ? null : REFERER.exec(referer);
        const passes =
          found === null ? config.bypass_missing : listed.has(found[1].toLowerCase()) === passesListed;
        return passes ? undefined : ctx.answer(403, body);
      },
    };
  },
});

/** Names, and endings of names. */
class HostList {
  readonly #names = new Set<string>();
  readonly #endings: string[] = [];

  constructor(hosts: readonly string[]) {
    for (const host of hosts) {
      if (host.startsWith("*")) this.#endings.push(host.slice(1).toLowerCase());
      else this.#names.add(host.toLowerCase());
    }
  }

  has(host: string): boolean {
    if (this.#names.has(host)) return true;
    for (let i = 0; i < this.#endings.length; i++) if (host.endsWith(this.#endings[i])) return true;
    return false;
  }
}
