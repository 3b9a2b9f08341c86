/** A plan of the Admin API as people read it. Values of fields that hold secrets are not printed. */

import { isObject } from "../model/resource-type.ts";

export interface Change {
  op: "add" | "remove" | "replace";
  path: string;
  from?: unknown;
  to?: unknown;
}

export interface Plan {
  revision: number;
  changes: { key: string; action: "create" | "update" | "delete"; changes?: Change[] }[];
  unchanged: number;
  impact?: {
    matches: { host: string; uri: string; before: string[]; after: string[] }[];
    hidden: { route: string; by: string[] }[];
    plugin_order: { route: string | null; before: string[]; after: string[] }[];
    left_out: number;
  } | null;
}

const SIGNS = { create: "+ create", update: "~ update", delete: "- delete" } as const;
const VALUE_CHARACTERS = 100;
const SECRET = /key|secret|password|token|credential|private/i;
const HIDDEN = "(not shown)";

export function planText({ changes, unchanged }: Plan): string {
  const lines: string[] = [];
  for (const { key, action, changes: fields } of changes) {
    lines.push(`${SIGNS[action]}  ${key.replace(/^\/apisix/, "")}`);
    for (const field of fields ?? []) lines.push(`      ${changeText(field)}`);
  }
  const counts = (["create", "update", "delete"] as const).map((action) => {
    const count = changes.filter((change) => change.action === action).length;
    return `${count} to ${action}`;
  });
  lines.push(`${counts.join(", ")}, ${unchanged} unchanged`);
  return `${lines.join("\n")}\n`;
}

/** "" when nothing is known. */
export function impactText({ impact }: Plan): string {
  if (impact === null || impact === undefined) return "";
  const lines: string[] = [];
  for (const { host, uri, before, after } of impact.matches) {
    lines.push(`requests to ${host}${uri}: ${routes(before)} → ${routes(after)}`);
  }
  for (const { route, by } of impact.hidden) {
    lines.push(`route ${route} is not reached any more: ${by.join(", ")} before it`);
  }
  for (const { route, before, after } of impact.plugin_order) {
    const where = route === null ? "global rules" : `route ${route}`;
    lines.push(`plugins of ${where}: ${listed(before)} → ${listed(after)}`);
  }
  if (impact.left_out > 0) lines.push(`and ${impact.left_out} more`);
  return lines.length === 0 ? "" : `${lines.join("\n")}\n`;
}

/** Those that may take a request, in the order in which they are tried. */
function routes(ids: readonly string[]): string {
  return ids.length === 0 ? "none" : ids.join(", else ");
}

function listed(names: readonly string[]): string {
  return names.length === 0 ? "none" : names.join(", ");
}

function changeText(change: Change): string {
  const { op, path } = change;
  const [from, to] = [shown(path, change.from), shown(path, change.to)];
  if (op === "replace") return `${path}: ${from} → ${to}`;
  return op === "add" ? `${path}: + ${to}` : `${path}: - ${from}`;
}

function shown(path: string, value: unknown): string {
  // "key" is also what a limit or a balancer counts by, which is never a secret.
  const field = path.slice(path.lastIndexOf("/") + 1);
  if (value === undefined || isSecret(field, path)) return HIDDEN;
  const text = JSON.stringify(withoutSecrets(value, path));
  return text.length > VALUE_CHARACTERS ? `${text.slice(0, VALUE_CHARACTERS)}…` : text;
}

function isSecret(field: string, path: string): boolean {
  return SECRET.test(field) && !/^\/upstream|\/limit-|\/plugins\/[^/]+$/.test(path);
}

function withoutSecrets(value: unknown, path: string): unknown {
  if (Array.isArray(value)) return value.map((item) => withoutSecrets(item, path));
  if (!isObject(value)) return value;
  const entries = Object.entries(value).map(([name, inner]) => {
    const at = `${path}/${name}`;
    const isText = typeof inner !== "object" || inner === null;
    return [name, isText && isSecret(name, at) ? HIDDEN : withoutSecrets(inner, at)] as const;
  });
  return Object.fromEntries(entries);
}
