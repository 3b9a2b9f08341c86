/**
 * Routes of Kong: conditions, and what becomes of the path. Paths that are patterns become a condition below the text
 * that they begin with; a route with both sorts of paths becomes two.
 */

import { HTTP_METHODS } from "../../lib/http-methods.ts";
import { isObject, type JsonObject } from "../../model/resource-type.ts";
import type { KongAddress } from "./kong-upstreams.ts";
import { textsOf } from "./kong-plugins.ts";
import type { KongEntity } from "./kong-entities.ts";
import type { ImportReport } from "./report.ts";

export interface ConvertedRoute {
  /** "" or "-regex". */
  suffix: string;
  fields: JsonObject;
  /** Configuration of proxy-rewrite that makes the path; null: it stays. */
  rewrite: JsonObject | null;
}

const KNOWN_METHODS: ReadonlySet<string> = new Set(HTTP_METHODS);
const META = /[.*+?^${}()|[\]\\]/g;
/** Before version 3 a path is a pattern when it holds anything else. */
const PLAIN_PATH = /^[a-zA-Z0-9._~/%-]*$/;

/** `address` null: the route has no service. */
export function convertRoute(
  { fields, place }: KongEntity,
  address: KongAddress | null,
  version: number,
  report: ImportReport,
): ConvertedRoute[] {
  const common = conditionsOf(fields, place, report);
  const paths = textsOf(fields["paths"]);
  const isPattern = (path: string) => (version >= 3 ? path.startsWith("~") : !PLAIN_PATH.test(path));
  const plain = paths.filter((path) => !isPattern(path));
  const patterns = paths.filter(isPattern).map((path) => (version >= 3 ? path.slice(1) : path));
  const strips = fields["strip_path"] !== false;
  const prefix = address?.path ?? "";
  const routes: ConvertedRoute[] = [];
  if (plain.length > 0 || patterns.length === 0) {
    const uris = plain.length === 0 ? ["/*"] : plain.map((path) => `${path}*`);
    const stripped = strips ? plain.map((path) => path.replace(/\/$/, "").replaceAll(META, "\\$&")) : [];
    routes.push({ suffix: "", fields: { ...common, ...urisOf(uris) }, rewrite: rewriteOf(stripped, prefix) });
  }
  if (patterns.length > 0) {
    report.differs(place, "patterns are tried after longer plain paths, and in the order of priority");
    const bare = patterns.map((pattern) => pattern.replace(/^\^/, "").replace(/\$$/, ""));
    const vars = [
      ...((common["vars"] as unknown[] | undefined) ?? []),
      ["uri", "~~", `^(?:${bare.join("|")})`],
    ];
    const uris = [...new Set(bare.map((pattern) => `${literalStart(pattern)}*`))];
    const suffix = routes.length === 0 ? "" : "-regex";
    routes.push({
      suffix,
      fields: { ...common, ...urisOf(uris), vars },
      rewrite: rewriteOf(strips ? bare : [], prefix),
    });
  }
  return routes;
}

function urisOf(uris: readonly string[]): JsonObject {
  return uris.length === 1 ? { uri: uris[0] } : { uris };
}

/** `stripped`: patterns of what is cut off at the start. */
function rewriteOf(stripped: readonly string[], prefix: string): JsonObject | null {
  const cut = stripped.filter((pattern) => pattern !== "");
  if (cut.length === 0) return prefix === "" ? null : { regex_uri: ["^/(.*)$", `${literal(prefix)}/$1`] };
  // The longest first: of "/a" and "/a/b" the second is cut off where it fits.
  const longest = cut.toSorted((a, b) => b.length - a.length).join("|");
  const group = longest.replaceAll(/\\./g, "").match(/\((?!\?[^<])/g)?.length ?? 0;
  const rest = `$${group + 1}`;
  const otherwise = cut.length < stripped.length ? ["^/(.*)$", `${literal(prefix)}/$1`] : [];
  return { regex_uri: [`^(?:${longest})/?(.*)$`, `${literal(prefix)}/${rest}`, ...otherwise] };
}

/** In a replacement "$" begins the name of a group. */
function literal(prefix: string): string {
  return prefix.replaceAll("$", "$$$$");
}

/** Text in front of the first sign with a meaning. */
function literalStart(pattern: string): string {
  const at = pattern.search(/[.*+?^${}()|[\]\\]/);
  if (at === -1) return pattern;
  // "ab?" begins with "a".
  const start = /[*?{|]/.test(pattern[at]) ? pattern.slice(0, Math.max(at - 1, 0)) : pattern.slice(0, at);
  return pattern.includes("|") && !start.includes("(") && hasTopLevelOr(pattern) ? "/" : start || "/";
}

function hasTopLevelOr(pattern: string): boolean {
  let depth = 0;
  for (let i = 0; i < pattern.length; i++) {
    if (pattern[i] === "\\") i++;
    else if (pattern[i] === "(") depth++;
    else if (pattern[i] === ")") depth--;
    else if (pattern[i] === "|" && depth === 0) return true;
  }
  return false;
}

function conditionsOf(fields: JsonObject, place: string, report: ImportReport): JsonObject {
  const converted: JsonObject = {};
  const vars: unknown[] = [];
  const methods = textsOf(fields["methods"]).map((method) => method.toUpperCase());
  const unknown = methods.filter((method) => !KNOWN_METHODS.has(method));
  if (unknown.length > 0) report.lost(place, `methods: ${unknown.join(", ")} cannot be a condition`);
  if (methods.length > unknown.length) {
    converted["methods"] = methods.filter((method) => KNOWN_METHODS.has(method));
  }
  const hosts = textsOf(fields["hosts"]);
  if (hosts.some((host) => host.endsWith("*"))) {
    const patterns = hosts.map((host) => host.replaceAll(META, "\\$&").replace("\\*", "[^/]+"));
    vars.push(["host", "~~", `^(?:${patterns.join("|")})$`]);
    report.differs(place, "hosts that end with * become a condition, which comes after routes with hosts");
  } else if (hosts.length > 0) converted["hosts"] = hosts;
  for (const [name, values] of Object.entries(isObject(fields["headers"]) ? fields["headers"] : {})) {
    vars.push(...headerCondition(name, textsOf(values)));
  }
  const sources = Array.isArray(fields["sources"]) ? (fields["sources"] as unknown[]).filter(isObject) : [];
  const addresses = sources.map(({ ip }) => ip).filter((ip) => typeof ip === "string");
  if (addresses.length > 0) converted["remote_addrs"] = addresses;
  if (sources.some(({ port }) => port !== undefined))
    report.lost(place, "sources: ports of clients are no condition");
  for (const field of ["snis", "destinations", "expression"]) {
    const given = fields[field];
    const isGiven = typeof given === "string" || (Array.isArray(given) && given.length > 0);
    if (isGiven)
      report.lost(place, `${field} is not carried over: the route takes more requests than before`);
  }
  if (typeof fields["regex_priority"] === "number" && fields["regex_priority"] !== 0) {
    converted["priority"] = fields["regex_priority"];
  } else if (typeof fields["priority"] === "number") converted["priority"] = fields["priority"];
  if (vars.length > 0) converted["vars"] = vars;
  return converted;
}

/** One of the values; "~*" in front of the only one makes it a pattern. */
function headerCondition(name: string, values: readonly string[]): unknown[] {
  const variable = `http_${name.toLowerCase().replaceAll("-", "_")}`;
  if (values.length === 0) return [];
  if (values.length === 1 && values[0].startsWith("~*")) return [[variable, "~*", values[0].slice(2)]];
  // Kong compares them without regard to case.
  const patterns = values.map((value) => value.replaceAll(META, "\\$&"));
  return [[variable, "~*", `^(?:${patterns.join("|")})$`]];
}
