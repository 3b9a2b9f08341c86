/**
 * What `chash` hashes of a request: `hash_on` and `key` of an upstream, compiled once.
 *
 * A request without that variable, header, cookie or consumer is hashed by its `remote_addr`. Of a combination
 * ("$request_uri$remote_addr", `${name}` too) missing parts count as empty, unless all are missing.
 */

import type { PublishedUpstream } from "../../../model/published.ts";
import type { BalanceRequest } from "./contract.ts";

const FALLBACK = "remote_addr";

export class HashKey {
  /** Literal texts and variable names in turn, beginning with a text. One variable alone: empty. */
  readonly #parts: readonly string[];
  readonly #variable: string;

  constructor(hashOn: PublishedUpstream["hash_on"], key: string | undefined) {
    this.#parts = hashOn === "vars_combinations" ? partsOf(key ?? "") : [];
    this.#variable = variableName(hashOn, key ?? "");
  }

  of(request: BalanceRequest): string {
    const value = this.#parts.length === 0 ? request.variable(this.#variable) : this.#combined(request);
    return value === undefined || value === "" ? (request.variable(FALLBACK) ?? "") : value;
  }

  #combined(request: BalanceRequest): string | undefined {
    const parts = this.#parts;
    let text = parts[0];
    let isResolved = false;
    for (let i = 1; i < parts.length; i += 2) {
      const value = request.variable(parts[i]);
      if (value !== undefined) {
        isResolved = true;
        text += value;
      }
      text += parts[i + 1];
    }
    return isResolved ? text : undefined;
  }
}

function variableName(hashOn: PublishedUpstream["hash_on"], key: string): string {
  switch (hashOn) {
    case "header":
      return `http_${key.toLowerCase().replaceAll("-", "_")}`;
    case "cookie":
      return `cookie_${key}`;
    case "consumer":
      return "consumer_name";
    case "vars":
      return key === "" ? FALLBACK : key.replace(/^\$/, "");
    default:
      return FALLBACK;
  }
}

/** "a$b${c}d" → ["a", "b", "", "c", "d"]. */
function partsOf(template: string): string[] {
  const parts: string[] = [];
  let end = 0;
  for (const match of template.matchAll(/\$(?:\{(\w+)\}|(\w+))/g)) {
    parts.push(template.slice(end, match.index), match[1] ?? match[2]);
    end = match.index + match[0].length;
  }
  parts.push(template.slice(end));
  return parts;
}
