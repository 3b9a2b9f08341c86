/**
 * `checks` of an upstream as control and workers use them, every field filled in, and the rule by which both
 * name the same target for a node.
 */

import { withDefaults } from "./defaults.ts";
import type { PublishedUpstream } from "./published.ts";
import { isObject } from "./resource-type.ts";
import { Checks } from "./upstream-checks.ts";

export interface ActiveChecks {
  type: "http" | "https" | "tcp" | "grpc";
  /** Seconds, for a probe as a whole. */
  timeout: number;
  /** Probes of one upstream that run at the same time. */
  concurrency: number;
  host?: string;
  port?: number;
  http_method: string;
  http_path: string;
  http_req_body: string;
  https_verify_certificate: boolean;
  /** "Name: value" each. */
  req_headers?: string[];
  /** Name of the service that is asked for; the server as a whole by default. */
  grpc_service?: string;
  /** Seconds between probes. */
  healthy: { interval: number; http_statuses: number[]; successes: number };
  unhealthy: {
    interval: number;
    http_statuses: number[];
    http_failures: number;
    tcp_failures: number;
    timeouts: number;
  };
}

export interface PassiveChecks {
  type: "http" | "https" | "tcp" | "grpc";
  healthy: { http_statuses: number[]; successes: number };
  unhealthy: { http_statuses: number[]; http_failures: number; tcp_failures: number; timeouts: number };
}

export interface HealthChecks {
  active: ActiveChecks;
  passive: PassiveChecks | null;
  all_unhealthy: "use_all" | "refuse";
  /** Per cent of nodes; below it health is ignored. */
  panic_threshold: number;
  /** Seconds in which a node that came back gets its full share, by steps; 0: at once. */
  slow_start: number;
}

/** Null: the upstream is not checked. */
export function healthChecksOf(upstream: PublishedUpstream): HealthChecks | null {
  const { checks } = upstream;
  if (checks === undefined || !isObject(checks["active"])) return null;
  const given = withParts(checks);
  const filled = withDefaults(Checks, given) as HealthChecks;
  return { ...filled, passive: isObject(filled.passive) ? filled.passive : null };
}

/** Store key of the resource whose nodes these are; null: an upstream that is neither checked nor has an id. */
export function healthResourceOf(upstream: PublishedUpstream): string | null {
  if (upstream.id !== undefined) return `/upstreams/${upstream.id}`;
  return upstream.health_key ?? null;
}

/** What is probed for a node: its own port and host, unless the checks name others. */
export function probedPlace(
  checks: HealthChecks | null,
  node: { host: string; port: number },
): { host: string; port: number } {
  return { host: checks?.active.host ?? node.host, port: checks?.active.port ?? node.port };
}

/** The parts of `active` and `passive` that were left out, so that their defaults have a place. */
function withParts(checks: Record<string, unknown>): Record<string, unknown> {
  const filled: Record<string, unknown> = { ...checks };
  for (const sort of ["active", "passive"]) {
    const part = checks[sort];
    if (isObject(part)) filled[sort] = { healthy: {}, unhealthy: {}, ...part };
  }
  return filled;
}
