/**
 * What a request says, as one object of named values: a JSON body (POST, PUT, PATCH), else the form of a POST, else the
 * query. So does APISIX choose; but a JSON body that cannot be read is an error here and not an empty form.
 */

import type { ExchangeRequest } from "../../plugin/index.ts";
import { InvalidRequest } from "./invalid-request.ts";

/** By name. Values are JSON's; those of forms and queries are texts, or lists of texts where a name stands twice. */
export type Arguments = Readonly<Record<string, unknown>>;

const MAX_ARGUMENTS = 1000;
/** Longer numbers are not exact in JavaScript. */
const LONG_DIGITS = /\d{16}/;
const WHOLE_NUMBER = /^-?\d{1,20}$/;

/** Whether the body has a say. */
export function readsBody({ method, headers }: ExchangeRequest): boolean {
  return (
    method === "POST" || ((method === "PUT" || method === "PATCH") && isJson(headers.get("content-type")))
  );
}

/** Throws `InvalidRequest`. `body`: empty unless `readsBody`. */
export function readArguments({ method, headers, query }: ExchangeRequest, body: Buffer): Arguments {
  if (body.length > 0 && isJson(headers.get("content-type"))) return readJson(body.toString());
  return readForm(method === "POST" ? body.toString() : query);
}

function isJson(contentType: string | undefined): boolean {
  return contentType !== undefined && contentType.toLowerCase().includes("application/json");
}

function readJson(text: string): Arguments {
  let value: unknown;
  try {
    value = LONG_DIGITS.test(text) ? JSON.parse(text, exactly) : JSON.parse(text);
  } catch (error) {
    throw new InvalidRequest(`the body is no JSON: ${(error as Error).message}`);
  }
  if (!isObject(value)) throw new InvalidRequest("the body: expected an object of JSON");
  return value;
}

/** Whole numbers that JavaScript would round. The third argument is newer than its type in TypeScript. */
function exactly(_: string, value: unknown, context?: { source: string }): unknown {
  if (typeof value !== "number" || Number.isSafeInteger(value) || context === undefined) return value;
  return WHOLE_NUMBER.test(context.source) ? BigInt(context.source) : value;
}

function readForm(text: string): Arguments {
  const read: Record<string, string | string[]> = Object.create(null) as Record<string, string | string[]>;
  if (hasTooMany(text)) throw new InvalidRequest(`more than ${MAX_ARGUMENTS} arguments`);
  for (const [name, value] of new URLSearchParams(text)) {
    const former = read[name];
    if (former === undefined) read[name] = value;
    else if (typeof former === "string") read[name] = [former, value];
    else former.push(value);
  }
  return read;
}

/** Before each of them becomes two texts. */
function hasTooMany(text: string): boolean {
  let count = 1;
  for (let at = text.indexOf("&"); at !== -1; at = text.indexOf("&", at + 1)) {
    if (++count > MAX_ARGUMENTS) return true;
  }
  return false;
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
