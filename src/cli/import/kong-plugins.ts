/**
 * Plugins of Kong as plugins of Cardea. Each converter gives what it can and reports what it cannot; a field that no
 * converter reads and that is not at its default is reported as well.
 */

import { isObject, type JsonObject } from "../../model/resource-type.ts";
import { textOf } from "./kong-entities.ts";
import type { ImportReport } from "./report.ts";

export interface ConvertedPlugin {
  name: string;
  config: JsonObject;
}

interface Source {
  config: JsonObject;
  place: string;
  report: ImportReport;
  /** Names of consumers in one of these groups of `acls`. */
  consumersIn(groups: readonly string[]): string[];
}

type Converter = (source: Source) => ConvertedPlugin | null;

const CONVERTERS: Readonly<Record<string, { convert: Converter; reads: readonly string[] }>> = {
  "key-auth": { convert: keyAuth, reads: ["key_names", "hide_credentials", "key_in_header", "key_in_query"] },
  "basic-auth": {
    convert: ({ config }) => ({ name: "basic-auth", config: picked(config, ["hide_credentials", "realm"]) }),
    reads: ["hide_credentials", "realm"],
  },
  "rate-limiting": {
    convert: rateLimiting,
    reads: [
      "second",
      "minute",
      "hour",
      "day",
      "month",
      "year",
      "limit_by",
      "header_name",
      "policy",
      "fault_tolerant",
      "hide_client_headers",
      "error_code",
      "error_message",
      "redis",
      "redis_host",
      "redis_port",
      "redis_password",
      "redis_username",
      "redis_database",
      "redis_timeout",
      "redis_ssl",
      "redis_ssl_verify",
    ],
  },
  cors: {
    convert: cors,
    reads: ["origins", "methods", "headers", "exposed_headers", "credentials", "max_age"],
  },
  "ip-restriction": {
    convert: ipRestriction,
    reads: ["allow", "deny", "whitelist", "blacklist", "message", "status"],
  },
  "request-transformer": {
    convert: requestTransformer,
    reads: ["add", "append", "remove", "replace", "rename", "http_method"],
  },
  "response-transformer": {
    convert: responseTransformer,
    reads: ["add", "append", "remove", "replace", "rename"],
  },
  "request-size-limiting": {
    convert: ({ config }) => {
      const unit = UNITS[textOf(config["size_unit"], "megabytes")] ?? UNITS["megabytes"];
      const size = Number(config["allowed_payload_size"] ?? 128) * unit;
      return { name: "client-control", config: { max_body_size: size } };
    },
    reads: ["allowed_payload_size", "size_unit"],
  },
  "bot-detection": { convert: botDetection, reads: ["allow", "deny", "whitelist", "blacklist"] },
  acl: { convert: acl, reads: ["allow", "deny", "whitelist", "blacklist"] },
  prometheus: {
    convert: () => ({ name: "prometheus", config: {} }),
    reads: ["per_consumer", "status_code_metrics"],
  },
  "correlation-id": { convert: correlationId, reads: ["header_name", "generator", "echo_downstream"] },
  "request-termination": {
    convert: requestTermination,
    reads: ["status_code", "message", "body", "content_type"],
  },
};

const UNITS: Readonly<Record<string, number>> = { megabytes: 1_000_000, kilobytes: 1_000, bytes: 1 };
const WINDOWS = {
  second: 1,
  minute: 60,
  hour: 3_600,
  day: 86_400,
  month: 2_592_000,
  year: 31_536_000,
} as const;
const LIMIT_KEYS: Readonly<Record<string, string>> = {
  ip: "remote_addr",
  consumer: "consumer_name",
  credential: "consumer_name",
  path: "uri",
};

/** Null: the plugin is not carried over, as the report says. */
export function convertPlugin(name: string, source: Source): ConvertedPlugin | null {
  const converter = Object.hasOwn(CONVERTERS, name) ? CONVERTERS[name] : undefined;
  if (converter === undefined) {
    source.report.lost(source.place, `the plugin ${name} is not carried over`);
    return null;
  }
  for (const [field, value] of Object.entries(source.config)) {
    const says = value !== null && value !== false && !(Array.isArray(value) && value.length === 0);
    if (says && !converter.reads.includes(field))
      source.report.differs(source.place, `${field} is not carried over`);
  }
  return converter.convert(source);
}

function keyAuth({ config, place, report }: Source): ConvertedPlugin {
  const names = textsOf(config["key_names"]);
  const name = names[0] ?? "apikey";
  if (names.length > 1) report.differs(place, `of key_names only ${name} is looked at`);
  for (const from of ["header", "query"]) {
    if (config[`key_in_${from}`] === false) report.differs(place, `keys are also taken from the ${from}`);
  }
  const converted: JsonObject = { header: name, query: name };
  if (config["hide_credentials"] === true) converted["hide_credentials"] = true;
  return { name: "key-auth", config: converted };
}

function rateLimiting({ config, place, report }: Source): ConvertedPlugin | null {
  const windows = Object.entries(WINDOWS).filter(([name]) => typeof config[name] === "number");
  if (windows.length === 0) {
    report.lost(place, "rate-limiting names no window");
    return null;
  }
  const by = textOf(config["limit_by"], "consumer");
  const header = config["header_name"];
  const key = by === "header" && typeof header === "string" ? variableOf(header) : LIMIT_KEYS[by];
  const converted: JsonObject = { rejected_code: config["error_code"] ?? 429 };
  if (typeof config["error_message"] === "string") converted["rejected_msg"] = config["error_message"];
  if (config["fault_tolerant"] !== false) converted["allow_degradation"] = true;
  if (config["hide_client_headers"] === true) converted["show_limit_quota_header"] = false;
  Object.assign(converted, redisOf(config, place, report));
  if (windows.length > 1 && (key === "remote_addr" || key === "uri")) {
    const rules = windows.map(([name, seconds]) => ({
      key: `${name} $${key}`,
      count: config[name],
      time_window: seconds,
      header_prefix: name,
    }));
    return { name: "limit-count", config: { ...converted, rules } };
  }
  const [[name, seconds], ...others] = windows;
  if (others.length > 0) {
    report.differs(
      place,
      `only the limit per ${name} holds, not that per ${others.map(([other]) => other).join(", ")}`,
    );
  }
  const limit = { count: config[name], time_window: seconds };
  if (key === undefined) {
    if (by !== "service")
      report.differs(place, `limit_by ${by} is not known: all requests are counted together`);
    return { name: "limit-count", config: { ...limit, key: "all", key_type: "constant", ...converted } };
  }
  return { name: "limit-count", config: { ...limit, key, key_type: "var", ...converted } };
}

/** Since 3.6 these fields stand in an object of their own. */
function redisOf(config: JsonObject, place: string, report: ImportReport): JsonObject {
  const policy = config["policy"] ?? "local";
  if (policy === "cluster") report.differs(place, "policy cluster: each node counts for itself");
  if (policy !== "redis") return { policy: "local" };
  const inner = isObject(config["redis"]) ? config["redis"] : {};
  const of = (name: string) => inner[name] ?? config[`redis_${name}`];
  const converted: JsonObject = { policy: "redis" };
  for (const name of ["host", "port", "username", "password", "database", "timeout", "ssl", "ssl_verify"]) {
    const value = of(name);
    if (value !== undefined && value !== null && value !== "") converted[`redis_${name}`] = value;
  }
  return converted;
}

function cors({ config }: Source): ConvertedPlugin {
  const origins = textsOf(config["origins"]);
  const hasCredentials = config["credentials"] === true;
  // "*" is not allowed with credentials; "**" answers with what was asked for, as Kong does.
  const all = hasCredentials ? "**" : "*";
  const converted: JsonObject = {
    allow_methods: listed(config["methods"], "GET,HEAD,PUT,PATCH,POST,DELETE,OPTIONS,TRACE,CONNECT"),
    allow_headers: listed(config["headers"], "**"),
    allow_credential: hasCredentials,
  };
  const isPattern = (origin: string) => /[\\^$[(|?*+]/.test(origin) && origin !== "*";
  if (origins.length === 0 || origins.includes("*")) converted["allow_origins"] = all;
  else if (origins.some(isPattern)) {
    converted["allow_origins_by_regex"] = origins.map((origin) =>
      isPattern(origin) ? origin : literal(origin),
    );
    // Does not count besides, and must not be "*" with credentials.
    converted["allow_origins"] = "null";
  } else converted["allow_origins"] = origins.join(",");
  const exposed = textsOf(config["exposed_headers"]);
  if (exposed.length > 0) converted["expose_headers"] = exposed.join(",");
  if (typeof config["max_age"] === "number") converted["max_age"] = config["max_age"];
  return { name: "cors", config: converted };
}

function ipRestriction({ config, place, report }: Source): ConvertedPlugin | null {
  const [allow, deny] = allowAndDeny(config);
  const converted: JsonObject = {};
  if (typeof config["message"] === "string") converted["message"] = config["message"];
  if (typeof config["status"] === "number" && ![403, 404].includes(config["status"])) {
    report.differs(place, `status ${config["status"]} becomes 403`);
  } else if (config["status"] === 404) converted["response_code"] = 404;
  if (allow.length > 0 && deny.length > 0) {
    report.lost(place, "only one of allow and deny can hold; allow is kept, deny is left out");
  }
  if (allow.length > 0) return { name: "ip-restriction", config: { whitelist: allow, ...converted } };
  if (deny.length > 0) return { name: "ip-restriction", config: { blacklist: deny, ...converted } };
  report.lost(place, "ip-restriction names no address");
  return null;
}

function requestTransformer({ config, place, report }: Source): ConvertedPlugin | null {
  const headers = headerChanges(config, place, report);
  for (const verb of ["add", "append", "remove", "replace", "rename"]) {
    for (const part of ["querystring", "body", "uri"]) {
      const given = isObject(config[verb]) ? config[verb][part] : undefined;
      if (given === undefined || given === null || textsOf(given).length === 0) continue;
      report.lost(place, `${verb}.${part} is not carried over`);
    }
  }
  const replacedUri = isObject(config["replace"]) ? config["replace"]["uri"] : undefined;
  if (typeof replacedUri === "string") report.lost(place, "replace.uri is not carried over");
  const converted: JsonObject = {};
  if (typeof config["http_method"] === "string") converted["method"] = config["http_method"].toUpperCase();
  const { add, set, remove } = headers;
  if (add.length + set.length + remove.length > 0) {
    converted["headers"] = {
      ...(add.length > 0 ? { add: Object.fromEntries(add) } : {}),
      ...(set.length > 0 ? { set: Object.fromEntries(set) } : {}),
      ...(remove.length > 0 ? { remove } : {}),
    };
  }
  return Object.keys(converted).length === 0 ? null : { name: "proxy-rewrite", config: converted };
}

function responseTransformer({ config, place, report }: Source): ConvertedPlugin | null {
  const { add, set, remove } = headerChanges(config, place, report);
  for (const verb of ["add", "append", "remove", "replace"]) {
    const part = isObject(config[verb]) ? config[verb]["json"] : undefined;
    if (textsOf(part).length > 0) report.lost(place, `${verb}.json is not carried over`);
  }
  if (add.length + set.length + remove.length === 0) return null;
  const headers: JsonObject = {};
  if (add.length > 0) headers["add"] = add.map(([name, value]) => `${name}: ${value}`);
  if (set.length > 0) headers["set"] = Object.fromEntries(set);
  if (remove.length > 0) headers["remove"] = remove;
  return { name: "response-rewrite", config: { headers } };
}

type HeaderField = readonly [name: string, value: string];

interface HeaderChanges {
  add: HeaderField[];
  set: HeaderField[];
  remove: string[];
}

function headerChanges(config: JsonObject, place: string, report: ImportReport): HeaderChanges {
  const of = (verb: string) => {
    const part = config[verb];
    return isObject(part) ? textsOf(part["headers"]) : [];
  };
  const fields = (verb: string) =>
    of(verb).flatMap((text): HeaderField[] => {
      const at = text.indexOf(":");
      const value = text.slice(at + 1).trim();
      if (at > 0 && !value.includes("$(")) return [[text.slice(0, at), value]];
      report.lost(place, `${verb}.headers: ${text.slice(0, Math.max(at, 0)) || "a field"} is computed`);
      return [];
    });
  const add = fields("add");
  const set = fields("replace");
  if (add.length > 0) report.differs(place, "add.headers adds to a field that is there already");
  if (set.length > 0) report.differs(place, "replace.headers also sets a field that is not there");
  for (const text of of("rename")) report.lost(place, `rename.headers: ${text} is not carried over`);
  return { add: [...add, ...fields("append")], set, remove: of("remove") };
}

function botDetection({ config, place, report }: Source): ConvertedPlugin | null {
  const [allow, deny] = allowAndDeny(config);
  report.differs(place, "the list of bots that Kong brings along is not part of ua-restriction");
  if (deny.length > 0) {
    if (allow.length > 0) report.differs(place, "allow is left out: what is in deny is refused");
    return { name: "ua-restriction", config: { denylist: deny, bypass_missing: true } };
  }
  // Alone, allow only makes exceptions from the list that is not there.
  return null;
}

function acl({ config, place, report, consumersIn }: Source): ConvertedPlugin | null {
  const [allow, deny] = allowAndDeny(config);
  report.differs(place, "groups became the consumers that are in them now");
  const whitelist = consumersIn(allow);
  if (allow.length > 0) {
    // Nobody is in these groups, and nobody passes: an empty list is not allowed.
    const names = whitelist.length > 0 ? whitelist : ["nobody"];
    return { name: "consumer-restriction", config: { whitelist: names } };
  }
  const blacklist = consumersIn(deny);
  return blacklist.length === 0 ? null : { name: "consumer-restriction", config: { blacklist } };
}

function correlationId({ config, place, report }: Source): ConvertedPlugin {
  const generator = textOf(config["generator"], "uuid#counter");
  if (generator !== "uuid") report.differs(place, `generator ${generator} becomes uuid`);
  return {
    name: "request-id",
    config: {
      header_name: config["header_name"] ?? "Kong-Request-ID",
      include_in_response: config["echo_downstream"] === true,
      algorithm: "uuid",
    },
  };
}

function requestTermination({ config }: Source): ConvertedPlugin {
  const { status_code: status, body, message, content_type: type } = config;
  const abort: JsonObject = { http_status: status ?? 503 };
  if (typeof body === "string") abort["body"] = body;
  else if (typeof message === "string") abort["body"] = JSON.stringify({ message });
  const contentType = type ?? (typeof body === "string" ? undefined : "application/json");
  if (typeof contentType === "string") abort["headers"] = { "Content-Type": contentType };
  return { name: "fault-injection", config: { abort } };
}

/** Before Kong 3 they had other names. */
function allowAndDeny(config: JsonObject): [allow: string[], deny: string[]] {
  return [textsOf(config["allow"] ?? config["whitelist"]), textsOf(config["deny"] ?? config["blacklist"])];
}

function variableOf(header: string): string {
  return `http_${header.toLowerCase().replaceAll("-", "_")}`;
}

function literal(text: string): string {
  return `^${text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")}$`;
}

function listed(value: unknown, otherwise: string): string {
  const texts = textsOf(value);
  return texts.length === 0 ? otherwise : texts.join(",");
}

export function textsOf(value: unknown): string[] {
  if (!Array.isArray(value)) return [];
  return value.filter((item) => typeof item === "string" || typeof item === "number").map(String);
}

function picked(config: JsonObject, names: readonly string[]): JsonObject {
  const given = names.filter((name) => config[name] !== undefined && config[name] !== null);
  return Object.fromEntries(given.map((name) => [name, config[name]]));
}
