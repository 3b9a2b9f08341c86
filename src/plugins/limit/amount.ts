/**
 * Numbers of a limit that may come from the request: a number, or a text with variables that becomes one
 * (`"${http_quota ?? 10}"`).
 */

import { Type, type Exchange } from "../../plugin/index.ts";
import { compileTemplate } from "../../lib/template.ts";

/** A number where the configuration has one: there may be as many limits as routes, and a closure takes ten times as much. */
export type Amount = number | AmountOf;

export type AmountOf = (ctx: Exchange) => number;

export function compileAmount(value: number | string, minimum: 0 | 1): Amount {
  if (typeof value === "number") return value;
  const template = compileTemplate(value);
  if (template.variables.length === 0) return wholeNumber(value, minimum);
  return (ctx) => wholeNumber(template.render(ctx), minimum);
}

/** NaN when the text does not give a whole number of at least the minimum: such a request cannot be counted. */
export function readAmount(amount: Amount, ctx: Exchange): number {
  return typeof amount === "number" ? amount : amount(ctx);
}

/** Schema of such a number. */
export function amount(minimum: 0 | 1, description: string) {
  const bound = minimum === 0 ? { minimum: 0 } : { exclusiveMinimum: 0 };
  return Type.Unsafe<number | string>({
    oneOf: [{ type: "integer", ...bound }, { type: "string" }],
    description,
  });
}

function wholeNumber(text: string, minimum: number): number {
  const trimmed = text.trim();
  const number = trimmed === "" ? Number.NaN : Number(trimmed);
  return Number.isSafeInteger(number) && number >= minimum ? number : Number.NaN;
}
