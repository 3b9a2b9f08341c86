/**
 * Conditions over variables, as they stand in `vars` of a route, `_meta.filter` and `match`: the language of
 * lua-resty-expr.
 *
 * An expression is a JSON array: `[variable, operator, value]`, `[variable, "!", operator, value]` (negated) or
 * `[variable, value]` (equal); a list of expressions must hold as a whole; `["AND" | "OR" | "!AND" | "!OR", e1, e2, ...]`
 * nests freely. An empty array always holds. At the top a single comparison must stand in brackets of its own.
 *
 * `compileExpression` turns one into closures; evaluation then allocates nothing and does not throw. Values are
 * compared as Lua does: text and numbers differ, except that a number on the right converts the text on the left.
 * One deviation: `[variable, value]` compares the value as it is written, where the original first lower-cases it.
 * Patterns (`~~`, `~*`) are those of `pattern.ts`.
 */

import { AddressSet } from "./address.ts";
import { compilePattern, PatternError, type Pattern } from "./pattern.ts";

/** An expression as users write it, unchecked. */
export type Expression = readonly unknown[];

/** Who knows the variables; an `Exchange` is one. Values are text, or whatever JSON holds for `post_arg.*` and the like. */
export interface VariableReader {
  variable(name: string): unknown;
}

export interface CompiledExpression {
  evaluate(reader: VariableReader): boolean;
}

/** The expression is malformed; the message says how, in the words of lua-resty-expr where it has some. */
export class ExpressionError extends Error {
  override readonly name = "ExpressionError";
}

type Test = (reader: VariableReader) => boolean;
type Comparison = (left: unknown) => boolean;

/** Bounds of what is compiled; real expressions stay below ten. */
const MAX_DEPTH = 32;
const MAX_COMPARISONS = 1024;

const LOGIC = new Set(["AND", "OR", "!AND", "!OR"]);

/** Null when `expression` can be compiled, else the reason. */
export function checkExpression(expression: unknown): string | null {
  try {
    compileExpression(expression);
    return null;
  } catch (error) {
    if (error instanceof ExpressionError) return error.message;
    throw error;
  }
}

/** Throws an `ExpressionError` for anything that is no expression. */
export function compileExpression(expression: unknown): CompiledExpression {
  if (!Array.isArray(expression)) throw new ExpressionError("missing argument rule");
  if (expression.length === 0) return { evaluate: always };
  if (!isTable(expression[0]) && !isLogic(expression[0])) {
    throw new ExpressionError("rule should be wrapped inside brackets");
  }
  return { evaluate: compileRule(expression, 1, { comparisons: 0 }) };
}

function always(): boolean {
  return true;
}

/** An object is a list without elements, as a Lua table without an array part. */
function isTable(value: unknown): boolean {
  return typeof value === "object" && value !== null;
}

function isLogic(word: unknown): word is string {
  return typeof word === "string" && LOGIC.has(word.toUpperCase());
}

function compileRule(rule: unknown, depth: number, budget: { comparisons: number }): Test {
  if (!isTable(rule)) throw new ExpressionError("invalid expression");
  if (!Array.isArray(rule) || rule.length === 0) throw new ExpressionError("rule too short");
  if (depth > MAX_DEPTH) throw new ExpressionError(`expression nested deeper than ${MAX_DEPTH}`);
  const first: unknown = rule[0];
  if (isTable(first)) return all(rule.map((inner) => compileRule(inner, depth + 1, budget)));
  if (isLogic(first)) {
    if (rule.length <= 2) throw new ExpressionError("rule too short");
    const tests = rule.slice(1).map((inner) => compileRule(inner, depth + 1, budget));
    switch (first.toUpperCase()) {
      case "AND":
        return all(tests);
      case "OR":
        return some(tests);
      case "!AND":
        return not(all(tests));
      default:
        return not(some(tests));
    }
  }
  if (++budget.comparisons > MAX_COMPARISONS) {
    throw new ExpressionError(`expression with more than ${MAX_COMPARISONS} comparisons`);
  }
  return compileComparison(rule);
}

function all(tests: Test[]): Test {
  if (tests.length === 1) return tests[0];
  return (reader) => {
    for (let i = 0; i < tests.length; i++) if (!tests[i](reader)) return false;
    return true;
  };
}

function some(tests: Test[]): Test {
  return (reader) => {
    for (let i = 0; i < tests.length; i++) if (tests[i](reader)) return true;
    return false;
  };
}

function not(test: Test): Test {
  return (reader) => !test(reader);
}

function compileComparison(rule: unknown[]): Test {
  const negated = rule.length === 4;
  if (negated && rule[1] !== "!") throw new ExpressionError("bad 'not' expression");
  const variable = rule[0];
  let operator = negated ? rule[2] : rule[1];
  let right = negated ? rule[3] : rule[2];
  if (typeof operator === "string") operator = operator.toLowerCase();
  const hasRight = rule.length >= 3;
  if (!hasRight && !(typeof operator === "string" && operator in comparisons)) {
    // [variable, value]
    if (rule.length < 2) throw new ExpressionError("invalid expression");
    right = rule[1];
    operator = "==";
  }
  if (typeof variable !== "string" || operator === undefined || operator === null) {
    throw new ExpressionError("invalid expression");
  }
  if (typeof operator !== "string" || !Object.hasOwn(comparisons, operator)) {
    throw new ExpressionError(
      `invalid operator '${typeof operator === "string" ? operator : JSON.stringify(operator)}'`,
    );
  }
  const compare = comparisons[operator](right ?? undefined);
  return negated
    ? (reader) => !compare(reader.variable(variable) ?? undefined)
    : (reader) => compare(reader.variable(variable) ?? undefined);
}

/** By operator: the comparison with a fixed right side; `undefined` stands for null and for an absent variable. */
const comparisons: Record<string, (right: unknown) => Comparison> = Object.assign(
  Object.create(null) as Record<string, (right: unknown) => Comparison>,
  {
    "==": equal,
    "~=": (right: unknown): Comparison => {
      const same = equal(right);
      return (left) => !same(left);
    },
    ">": (right: unknown): Comparison => {
      const bound = toNumber(right);
      return (left) => toNumber(left) > bound;
    },
    ">=": (right: unknown): Comparison => {
      const bound = toNumber(right);
      return (left) => toNumber(left) >= bound;
    },
    "<": (right: unknown): Comparison => {
      const bound = toNumber(right);
      return (left) => toNumber(left) < bound;
    },
    "<=": (right: unknown): Comparison => {
      const bound = toNumber(right);
      return (left) => toNumber(left) <= bound;
    },
    "~~": (right: unknown) => matches(right, ""),
    "~*": (right: unknown) => matches(right, "i"),
    in: (right: unknown): Comparison => {
      if (!Array.isArray(right)) return never;
      const elements = new Set<unknown>(right);
      elements.delete(null);
      return (left) => left !== undefined && elements.has(left);
    },
    has: (right: unknown): Comparison => {
      return (left) => Array.isArray(left) && left.includes(right);
    },
    ipmatch: inAddresses,
  },
);

function never(): boolean {
  return false;
}

function equal(right: unknown): Comparison {
  if (typeof right === "number") return (left) => toNumber(left) === right;
  return (left) => left === right;
}

function matches(right: unknown, flags: string): Comparison {
  if (typeof right !== "string" && typeof right !== "number") {
    throw new ExpressionError(`invalid pattern ${JSON.stringify(right ?? null)}, expected a string`);
  }
  try {
    const pattern = compilePattern(String(right), flags);
    return (left) => {
      if (typeof left === "string") return isFound(pattern, left);
      return typeof left === "number" && isFound(pattern, String(left));
    };
  } catch (error) {
    if (error instanceof PatternError) throw new ExpressionError(error.message);
    throw error;
  }
}

/** False for an input that is longer than the pattern may be given, as a match that PCRE gives up. */
function isFound(pattern: Pattern, input: string): boolean {
  try {
    return pattern.test(input);
  } catch (error) {
    if (error instanceof RangeError) return false;
    throw error;
  }
}

function inAddresses(right: unknown): Comparison {
  const entries: unknown[] = Array.isArray(right) ? right : [right];
  if (entries.length === 0 || entries[0] === undefined || entries[0] === "") {
    throw new ExpressionError("invalid ip address");
  }
  for (const entry of entries) {
    if (typeof entry !== "string") throw new ExpressionError(`invalid ip address: ${JSON.stringify(entry)}`);
  }
  try {
    const addresses = new AddressSet(entries as string[]);
    return (left) => typeof left === "string" && addresses.has(left);
  } catch (error) {
    if (error instanceof RangeError) throw new ExpressionError(error.message);
    throw error;
  }
}

/** A decimal or hexadecimal number between spaces: what Lua's `tonumber` takes. */
const LUA_NUMBER = /^[ \t-\r]*[+-]?(?:0[xX][\da-fA-F]+|(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)[ \t-\r]*$/;

/** Longer text is no number; it bounds the conversion. */
const MAX_NUMBER_LENGTH = 512;

/** As Lua's `tonumber`; NaN, which compares false with everything, when there is none. */
function toNumber(value: unknown): number {
  if (typeof value === "number") return value;
  if (typeof value !== "string" || value.length > MAX_NUMBER_LENGTH || !LUA_NUMBER.test(value))
    return Number.NaN;
  const direct = Number(value);
  if (!Number.isNaN(direct)) return direct;
  // JavaScript knows no sign before a hexadecimal number.
  const text = value.trim();
  const magnitude = Number(text.slice(1));
  return text.startsWith("-") ? -magnitude : magnitude;
}
