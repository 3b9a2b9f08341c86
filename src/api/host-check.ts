/**
 * Which `Host` a request to an API without a key may name. A page in a browser near the node can have a name of its
 * own point at the node (DNS rebinding) and then read answers as if they were its own; it cannot forge `Host`.
 *
 * Addresses cannot be rebound and always pass, as do `localhost`, the machine's name and the names that the operator
 * lists. A request without `Host` comes from no browser.
 */

import { hostname } from "node:os";
import { isAddress } from "../lib/address.ts";

const MAX_SHOWN_CHARACTERS = 255;

export class HostCheck {
  readonly #names: ReadonlySet<string>;
  /** Of "*.a.com", with the dot. */
  readonly #suffixes: readonly string[];
  readonly #allowsAll: boolean;

  /** `names` may hold patterns: "*.a.com" for what is below a.com, "*" for every name. */
  constructor(names: readonly string[], machine = hostname()) {
    const given = [machine, ...names].map((name) => name.toLowerCase());
    this.#names = new Set(given.filter((name) => !name.startsWith("*")));
    this.#suffixes = [
      ".localhost",
      ...given.filter((name) => name.startsWith("*.")).map((name) => name.slice(1)),
    ];
    this.#allowsAll = given.includes("*");
  }

  /** What to say to the client; null: the request may go on. `host` is the header's value. */
  refusalOf(host: string | undefined): string | null {
    if (host === undefined || this.#allowsAll) return null;
    const name = nameOf(host);
    if (name === "localhost" || isAddress(name) || this.#names.has(name)) return null;
    if (this.#suffixes.some((suffix) => name.endsWith(suffix))) return null;
    const shown = name.slice(0, MAX_SHOWN_CHARACTERS);
    return `the Host ${shown} is not known here: use an address, or add the name to cardea.private_hosts`;
  }
}

/** Lower-cased, without port, brackets and a trailing dot. */
function nameOf(host: string): string {
  const text = host.trim().toLowerCase();
  if (text.startsWith("[")) return text.slice(1, Math.max(1, text.indexOf("]")));
  const colon = text.lastIndexOf(":");
  const name = colon === -1 ? text : text.slice(0, colon);
  return name.endsWith(".") ? name.slice(0, -1) : name;
}
