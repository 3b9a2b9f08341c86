/**
 * Which origins may read an answer: a list out of configuration, compiled.
 *
 * `allowed` says what goes into the header: "*", the one allowed origin whether or not the request comes from it (the
 * caller compares), the request's own, or undefined.
 */

import { alternatives, PatternList } from "../../lib/pattern-list.ts";

export interface Origins {
  allowed(origin: string | undefined): string | undefined;
}

/** `*`, `**` (any, by name), one origin, or several between commas. */
export function compileOrigins(text: string): Origins {
  if (text === "**") return { allowed: (origin) => origin ?? "*" };
  if (!text.includes(",")) return { allowed: () => text };
  const listed = new Set<string | undefined>(text.split(","));
  return { allowed: (origin) => (listed.has(origin) ? origin : undefined) };
}

/** Origins in which one of the patterns is found. An origin too long for them is none. */
export function compileOriginPatterns(sources: readonly string[]): Origins {
  const patterns = new PatternList([alternatives(sources)]);
  return {
    allowed: (origin) => (origin !== undefined && patterns.matches(origin, false) ? origin : undefined),
  };
}

/** Whether a request from `origin` may read an answer that names `allowed`. */
export function admits(allowed: string | undefined, origin: string | undefined): boolean {
  return allowed === "*" || (allowed !== undefined && allowed === origin);
}

/** Lists by name, out of the plugin's metadata: compiled again when the metadata is another object. */
export class NamedOrigins {
  readonly #names: readonly string[];
  readonly #metadata: () => OriginsMetadata | undefined;
  #compiledFrom: OriginsMetadata | undefined;
  #lists: Origins[] = [];

  constructor(names: readonly string[], metadata: () => OriginsMetadata | undefined) {
    this.#names = names;
    this.#metadata = metadata;
  }

  /** The request's own origin, when one of the lists admits it. */
  allowed(origin: string | undefined): string | undefined {
    const metadata = this.#metadata();
    if (metadata !== this.#compiledFrom) this.#compile(metadata);
    for (let i = 0; i < this.#lists.length; i++) {
      if (admits(this.#lists[i].allowed(origin), origin)) return origin;
    }
    return undefined;
  }

  #compile(metadata: OriginsMetadata | undefined): void {
    const byName = metadata?.allow_origins ?? {};
    this.#compiledFrom = metadata;
    this.#lists = this.#names
      .filter((name) => Object.hasOwn(byName, name))
      .map((name) => compileOrigins(byName[name]));
  }
}

export interface OriginsMetadata {
  allow_origins?: Record<string, string>;
}
