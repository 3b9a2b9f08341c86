/** Services, upstreams and targets of Kong: where requests go. */

import { isObject, type JsonObject } from "../../model/resource-type.ts";
import { isCalled, textOf, type KongEntities, type KongEntity } from "./kong-entities.ts";
import type { ImportReport } from "./report.ts";

export interface KongAddress {
  /** Of upstreams here: http, https, grpc, grpcs. */
  scheme: string;
  host: string;
  port: number;
  /** In front of the path of requests; "" for none. */
  path: string;
}

const PORTS: Readonly<Record<string, number>> = { http: 80, https: 443, grpc: 80, grpcs: 443 };
const TYPES: Readonly<Record<string, string>> = {
  "round-robin": "roundrobin",
  "consistent-hashing": "chash",
  "least-connections": "least_conn",
  latency: "ewma",
};
const TARGET_PORT = 8000;
const TARGET_WEIGHT = 100;
const TIMEOUT_MS = 60_000;
const STATUSES = ["http_statuses", "successes", "interval"] as const;
const FAILURES = ["http_statuses", "http_failures", "tcp_failures", "timeouts", "interval"] as const;

/** Null: its protocol is not one of HTTP. */
export function addressOf({ fields, place }: KongEntity, report: ImportReport): KongAddress | null {
  const url =
    typeof fields["url"] === "string" && URL.canParse(fields["url"]) ? new URL(fields["url"]) : null;
  const scheme = textOf(fields["protocol"], url?.protocol.replace(":", "") ?? "http");
  if (PORTS[scheme] === undefined) {
    report.lost(place, `protocol ${scheme} is not carried over`);
    return null;
  }
  const host = textOf(fields["host"], url?.hostname ?? "").replace(/^\[|\]$/g, "");
  if (host === "") {
    report.lost(place, "the service has no host");
    return null;
  }
  const ownPort = url === null || url.port === "" ? PORTS[scheme] : Number(url.port);
  const port = typeof fields["port"] === "number" ? fields["port"] : ownPort;
  const path = textOf(fields["path"], url?.pathname ?? "").replace(/\/+$/, "");
  return { scheme, host, port, path };
}

/** The upstream of a service: the one of that name with its targets, or the host alone. */
export function upstreamOf(
  service: KongEntity,
  address: KongAddress,
  entities: KongEntities,
  report: ImportReport,
): JsonObject {
  const named = entities.upstreams.find((upstream) => isCalled(upstream, address.host));
  const upstream: JsonObject =
    named === undefined
      ? { type: "roundrobin", nodes: [{ host: nodeHost(address.host), port: address.port, weight: 1 }] }
      : balanced(named, entities, report);
  upstream["scheme"] = address.scheme;
  const { retries, tls_verify: verify, client_certificate: certificate } = service.fields;
  if (typeof retries === "number") upstream["retries"] = retries;
  const timeouts = ["connect_timeout", "write_timeout", "read_timeout"].map((name) => service.fields[name]);
  if (timeouts.some((timeout) => typeof timeout === "number")) {
    const [connect, send, read] = timeouts.map((timeout) => Number(timeout ?? TIMEOUT_MS) / 1000);
    upstream["timeout"] = { connect, send, read };
  }
  if (verify === true) report.differs(service.place, "tls_verify is not carried over");
  if (isObject(certificate)) report.lost(service.place, "client_certificate is not carried over");
  return upstream;
}

function balanced(upstream: KongEntity, entities: KongEntities, report: ImportReport): JsonObject {
  const { fields, place } = upstream;
  const targets = entities.targets.filter(({ owners }) => isCalled(upstream, owners["upstream"]));
  const converted: JsonObject = {
    nodes: targets.flatMap((target) => nodeOf(target, report)),
    ...hashing(fields, place, report),
  };
  if (typeof fields["host_header"] === "string") {
    converted["pass_host"] = "rewrite";
    converted["upstream_host"] = fields["host_header"];
  }
  const checks = checksOf(fields["healthchecks"], place, report);
  if (checks !== null) converted["checks"] = checks;
  return converted;
}

function nodeOf({ fields, place }: KongEntity, report: ImportReport): JsonObject[] {
  const text = textOf(fields["target"], "");
  const parts = /^(?:\[([^\]]+)\]|([^:]+))(?::(\d+))?$/.exec(text);
  if (parts === null) {
    report.lost(place, `target: given ${JSON.stringify(text)}, expected host:port`);
    return [];
  }
  const [, address, name, port] = parts;
  const host = address === undefined ? name : `[${address}]`;
  const weight = typeof fields["weight"] === "number" ? fields["weight"] : TARGET_WEIGHT;
  return [{ host, port: port === undefined ? TARGET_PORT : Number(port), weight }];
}

function nodeHost(host: string): string {
  return host.includes(":") ? `[${host}]` : host;
}

function hashing(fields: JsonObject, place: string, report: ImportReport): JsonObject {
  const hashOn = textOf(fields["hash_on"], "none");
  const algorithm = textOf(fields["algorithm"], hashOn === "none" ? "round-robin" : "consistent-hashing");
  const type = TYPES[algorithm];
  if (type === undefined) report.differs(place, `algorithm ${algorithm} becomes roundrobin`);
  if (type !== "chash") return { type: type ?? "roundrobin" };
  if (fields["hash_fallback"] !== undefined && fields["hash_fallback"] !== "none") {
    report.differs(place, "hash_fallback: without the value, the client's address is taken");
  }
  const text = (name: string) => textOf(fields[name], "");
  switch (hashOn) {
    case "header":
      return { type, hash_on: "header", key: text("hash_on_header") };
    case "cookie":
      return { type, hash_on: "cookie", key: text("hash_on_cookie") };
    case "consumer":
      return { type, hash_on: "consumer" };
    case "path":
      return { type, hash_on: "vars", key: "uri" };
    case "query_arg":
      return { type, hash_on: "vars", key: `arg_${text("hash_on_query_arg")}` };
    default:
      if (hashOn !== "ip") report.differs(place, `hash_on ${hashOn} becomes the client's address`);
      return { type, hash_on: "vars", key: "remote_addr" };
  }
}

/** The two have one origin, and one set of names. An interval of 0 stands for no check. */
function checksOf(health: unknown, place: string, report: ImportReport): JsonObject | null {
  if (!isObject(health)) return null;
  const active = isObject(health["active"]) ? health["active"] : {};
  const healthy = thresholds(active["healthy"], STATUSES);
  const unhealthy = thresholds(active["unhealthy"], FAILURES);
  const isChecking = [healthy, unhealthy].some((part) => Number(part["interval"] ?? 0) > 0);
  const passive = isObject(health["passive"]) ? health["passive"] : {};
  const passiveUnhealthy = thresholds(passive["unhealthy"], FAILURES);
  if (!isChecking) {
    const counts = ["http_failures", "tcp_failures", "timeouts"].some(
      (name) => Number(passiveUnhealthy[name] ?? 0) > 0,
    );
    if (counts) report.lost(place, "passive checks without active ones: nothing would take a node back");
    return null;
  }
  const checks: JsonObject = { active: { ...withoutNothing(active), healthy, unhealthy } };
  if (Object.keys(passive).length > 0) {
    const passiveHealthy = thresholds(passive["healthy"], STATUSES);
    checks["passive"] = { ...typeOf(passive), healthy: passiveHealthy, unhealthy: passiveUnhealthy };
  }
  return checks;
}

function withoutNothing(active: JsonObject): JsonObject {
  const kept: JsonObject = { ...typeOf(active) };
  for (const name of ["timeout", "concurrency", "http_path", "https_verify_certificate"]) {
    if (active[name] !== undefined && active[name] !== null) kept[name] = active[name];
  }
  return kept;
}

function typeOf({ type }: JsonObject): JsonObject {
  return typeof type === "string" && ["http", "https", "tcp"].includes(type) ? { type } : {};
}

function thresholds(part: unknown, names: readonly string[]): JsonObject {
  if (!isObject(part)) return {};
  const given = names.filter((name) => {
    const value = part[name];
    return Array.isArray(value) ? value.length > 0 : typeof value === "number" && value > 0;
  });
  return Object.fromEntries(given.map((name) => [name, part[name]]));
}
