/**
 * Replacements in a whole body.
 *
 * Patterns see characters where the body is UTF-8, else bytes, so that what no filter touches comes out as it went in.
 * A filter whose pattern may not be given so long a body (see `lib/pattern.ts`) leaves it as it is; the log says so.
 */

import { isUtf8 } from "node:buffer";
import type { PluginLog } from "../../plugin/index.ts";
import { compilePattern, compileReplacement, type Pattern, type Replacement } from "../../lib/pattern.ts";
import type { Config } from "./config.ts";

interface Filter {
  pattern: Pattern;
  isGlobal: boolean;
  replacement: Replacement;
  /** The same, for bodies that are no UTF-8. */
  bytesReplacement: Replacement;
}

export class BodyFilters {
  readonly #filters: readonly Filter[];
  readonly #log: PluginLog;

  constructor(filters: NonNullable<Config["filters"]>, log: PluginLog) {
    this.#log = log;
    this.#filters = filters.map(({ regex, options, replace, scope }) => ({
      pattern: compilePattern(regex, options),
      isGlobal: scope === "global",
      replacement: compileReplacement(replace),
      bytesReplacement: compileReplacement(Buffer.from(replace).toString("latin1")),
    }));
  }

  apply(body: Buffer): Buffer {
    const encoding = isUtf8(body) ? "utf8" : "latin1";
    const text = body.toString(encoding);
    let filtered = text;
    for (const { pattern, isGlobal, replacement, bytesReplacement } of this.#filters) {
      try {
        filtered = pattern.replace(filtered, encoding === "utf8" ? replacement : bytesReplacement, isGlobal);
      } catch (error) {
        if (!(error instanceof RangeError)) throw error;
        this.#log.warn("filter left out", { plugin: "response-rewrite", reason: error.message });
      }
    }
    return filtered === text ? body : Buffer.from(filtered, encoding);
  }
}
