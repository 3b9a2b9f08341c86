/**
 * What a limit counts by: a variable, several of them, or one constant for everybody.
 *
 * Where the configured key has no value for a request, the client's address stands in, so that leaving a header
 * out frees nobody from the limit.
 */

import type { Exchange } from "../../plugin/index.ts";
import { compileTemplate } from "../../lib/template.ts";

export type KeyType = "var" | "var_combination" | "constant";
export type KeyOf = (ctx: Exchange) => string;

/** Readers of single variables, which most limits have in common. */
const BY_VARIABLE = new Map<string, KeyOf>();
const KEPT_READERS = 256;

export function compileKey(key: string, type: KeyType): KeyOf {
  if (type === "constant") return () => key;
  if (type === "var") return variableReader(key);
  const template = compileTemplate(key);
  // A combination of which no variable has a value names nobody in particular.
  return (ctx) => (template.isResolved(ctx) ? template.render(ctx) : ctx.client.address);
}

function variableReader(name: string): KeyOf {
  let reader = BY_VARIABLE.get(name);
  if (reader === undefined) {
    reader = (ctx) => ctx.variable(name) ?? ctx.client.address;
    if (BY_VARIABLE.size < KEPT_READERS) BY_VARIABLE.set(name, reader);
  }
  return reader;
}

/** The key of one of several rules: null when none of its variables has a value, and the rule does not apply. */
export function compileRuleKey(key: string): (ctx: Exchange) => string | null {
  const template = compileTemplate(key);
  return (ctx) => (template.isResolved(ctx) ? template.render(ctx) : null);
}
