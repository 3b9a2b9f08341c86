/**
 * Open loop: h2load sends at a fixed rate, whether or not the answers keep up. It finds the latency that
 * users of a half-loaded gateway see.
 *
 * h2load fires each connection's timer at most every 10 ms, all in the same instant when they were opened
 * together. So there are many connections, each slow, opened one after the other: their timers then spread
 * over time. Percentiles are computed from its log, without the opening phase, corrected for coordinated
 * omission.
 */

import { correctForOmission, percentile } from "../statistics.ts";
import type { LoadResult } from "./result.ts";

/** Of one connection: well below the 100 per second that h2load can time. */
const MAX_RATE_PER_CONNECTION = 50;
/** Prime to the interval of 20 ms, so that the connections' timers fall on different milliseconds. */
const OPENING_PERIOD_MS = 7;
const SETTLING_MS = 300;

export interface OpenLoop {
  port: number;
  /** One target per line; they are used in turn by each connection. */
  targetsFile: string;
  requestsPerSecond: number;
  seconds: number;
  logFile: string;
}

export interface OpenLoopPlan {
  connections: number;
  ratePerConnection: number;
  requests: number;
  /** Part of the log that is left out. */
  openingMs: number;
}

export function planOpenLoop(requestsPerSecond: number, seconds: number): OpenLoopPlan {
  const connections = Math.max(1, Math.ceil(requestsPerSecond / MAX_RATE_PER_CONNECTION));
  const openingMs = connections * OPENING_PERIOD_MS + SETTLING_MS;
  return {
    connections,
    ratePerConnection: Math.max(1, Math.round(requestsPerSecond / connections)),
    requests: Math.ceil(requestsPerSecond * (seconds + openingMs / 1000)),
    openingMs,
  };
}

export function h2loadCommand(h2load: string, load: OpenLoop, plan: OpenLoopPlan): string[] {
  return [
    h2load,
    "--h1",
    "--threads",
    "1",
    "--clients",
    String(plan.connections),
    "--requests",
    String(plan.requests),
    "--rps",
    String(plan.ratePerConnection),
    "--rate",
    "1",
    "--rate-period",
    `${OPENING_PERIOD_MS}ms`,
    "--log-file",
    load.logFile,
    "--base-uri",
    `http://127.0.0.1:${load.port}/`,
    "--input-file",
    load.targetsFile,
  ];
}

/** Reads h2load's log: start in µs since 1970, status (-1: none), µs until the end of the answer, by tabs. */
export function parseH2loadLog(log: string, plan: OpenLoopPlan): LoadResult {
  const rows = log
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => line.split("\t").map(Number) as [startUs: number, status: number, latencyUs: number])
    .sort((a, b) => a[0] - b[0]);
  if (rows.length === 0) throw new Error("h2load logged no request");
  const fromUs = rows[0][0] + plan.openingMs * 1000;
  const counted = rows.filter(([startUs]) => startUs >= fromUs);
  if (counted.length === 0) throw new Error("h2load logged no request after its opening phase");
  const durationUs = Math.max(1, counted.at(-1)![0] - counted[0][0]);
  const answered = counted.filter(([, status]) => status >= 200 && status < 400);
  const latencies = correctForOmission(
    answered.map(([, , latencyUs]) => latencyUs),
    1e6 / plan.ratePerConnection,
  );
  return {
    requests: rows.length,
    requestsPerSecond: (counted.length * 1e6) / durationUs,
    p50Us: percentile(latencies, 0.5),
    p99Us: percentile(latencies, 0.99),
    p999Us: percentile(latencies, 0.999),
    p9999Us: percentile(latencies, 0.9999),
    failures: counted.length - answered.length,
  };
}
