/**
 * Closed loop over HTTP/2: h2load keeps a number of streams busy on each of a few connections, each sending as soon as it has
 * its answer. As with wrk, its latencies are those of a saturated gateway.
 */

import { percentile } from "../statistics.ts";
import type { LoadResult } from "./result.ts";

export interface Multiplexed {
  port: number;
  isSecure?: boolean;
  connections: number;
  streamsPerConnection: number;
  seconds: number;
  logFile: string;
}

export function multiplexedCommand(h2load: string, load: Multiplexed): string[] {
  return [
    h2load,
    "--threads",
    "1",
    "--clients",
    String(load.connections),
    "--max-concurrent-streams",
    String(load.streamsPerConnection),
    "--duration",
    String(load.seconds),
    "--log-file",
    load.logFile,
    `${load.isSecure === true ? "https" : "http"}://127.0.0.1:${load.port}/`,
  ];
}

/** Reads h2load's log: start in µs since 1970, status (-1: none), µs until the end of the answer, by tabs. */
export function parseMultiplexedLog(log: string, seconds: number): LoadResult {
  const answered: number[] = [];
  let requests = 0;
  for (const line of log.split("\n")) {
    if (line === "") continue;
    const [, status, latencyUs] = line.split("\t").map(Number);
    requests++;
    if (status >= 200 && status < 400) answered.push(latencyUs);
  }
  if (answered.length === 0) throw new Error("h2load logged no answer");
  const latencies = answered.sort((a, b) => a - b);
  return {
    requests,
    requestsPerSecond: requests / seconds,
    p50Us: percentile(latencies, 0.5),
    p99Us: percentile(latencies, 0.99),
    p999Us: percentile(latencies, 0.999),
    p9999Us: percentile(latencies, 0.9999),
    failures: requests - answered.length,
  };
}
