/** Changes to the header fields that go upstream: added ones first, then set ones, then removed ones. */

import type { Exchange, HeaderList } from "../../plugin/index.ts";
import type { VariableReader } from "../../lib/expression.ts";
import type { PatternMatch } from "../../lib/pattern.ts";
import type { Template } from "../../lib/template.ts";
import { compileFieldValue } from "../../plugin/header-map.ts";

type Value = string | number;

export interface HeaderConfig {
  add?: Record<string, Value | Value[]>;
  set?: Record<string, Value | Value[]>;
  remove?: string[];
}

export type HeadersConfig = HeaderConfig | Record<string, Value>;

interface Field {
  rawName: string;
  name: string;
  values: readonly Template[];
}

/** "$1", "${1}": a group of the pattern that matched. Braces keep the digits from what follows them. */
const CAPTURE = /(?<!\\)\$(?:(\d+)|\{(\d+)\})/g;
const NUMBER = /^\d+$/;

/** The gateway has its own word on these: an empty one says that there shall be none. */
const FORWARDED = new Set(["x-forwarded-proto", "x-forwarded-host", "x-forwarded-port"]);

/** Reads groups of a match by number and variables by name. One serves all requests: rendering never waits. */
class Captures implements VariableReader {
  ctx: Exchange | null = null;
  match: PatternMatch | null = null;

  variable(name: string): string | undefined {
    return NUMBER.test(name) ? this.match?.groups[Number(name)] : this.ctx!.variable(name);
  }
}

const reader = new Captures();

export function isGrouped(headers: HeadersConfig): headers is HeaderConfig {
  const { add, set, remove } = headers as HeaderConfig;
  return typeof add === "object" || typeof set === "object" || typeof remove === "object";
}

export function compileHeaderChanges(
  config: HeadersConfig,
): (ctx: Exchange, match: PatternMatch | null) => void {
  const grouped: HeaderConfig = isGrouped(config) ? config : { set: config };
  const added = compileFields(grouped.add);
  const set = compileFields(grouped.set);
  const removed = (grouped.remove ?? []).map((name) => name.toLowerCase());

  return (ctx, match) => {
    const { headers } = ctx.request;
    reader.ctx = ctx;
    reader.match = match;
    for (let i = 0; i < added.length; i++) addField(headers, added[i]);
    for (let i = 0; i < set.length; i++) setField(headers, set[i]);
    for (let i = 0; i < removed.length; i++) removeField(headers, removed[i]);
    reader.ctx = null;
    reader.match = null;
  };
}

function addField(headers: HeaderList, field: Field): void {
  for (let i = 0; i < field.values.length; i++) {
    const value = field.values[i].render(reader);
    if (value !== "") headers.push(field.name, field.rawName, value);
  }
}

/** All values are read before the field changes: they may be made from it. An empty value is none. */
function setField(headers: HeaderList, field: Field): void {
  if (field.values.length === 1) {
    const value = field.values[0].render(reader);
    if (value === "") removeField(headers, field.name);
    else headers.set(field.rawName, value);
    return;
  }
  const values = field.values.map((template) => template.render(reader));
  headers.delete(field.name);
  for (const value of values) if (value !== "") headers.push(field.name, field.rawName, value);
}

function removeField(headers: HeaderList, name: string): void {
  if (FORWARDED.has(name)) headers.set(name, "");
  else headers.delete(name);
}

function compileFields(fields: Record<string, Value | Value[]> | undefined): Field[] {
  return Object.entries(fields ?? {}).map(([rawName, given]) => ({
    rawName,
    name: rawName.toLowerCase(),
    values: (Array.isArray(given) ? given : [given]).map((value) =>
      compileFieldValue(String(value).replace(CAPTURE, (_, bare, braced) => `\${${bare ?? braced}}`)),
    ),
  }));
}
