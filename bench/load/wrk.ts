/**
 * Closed loop: wrk keeps a fixed number of connections busy, each sending as soon as it has its answer. It
 * finds what a request costs; its latencies are those of a saturated gateway, so compare, do not quote.
 */

import { join } from "node:path";
import type { LoadResult } from "./result.ts";

const SCRIPT = join(import.meta.dirname, "requests.lua");

export interface ClosedLoop {
  port: number;
  isSecure?: boolean;
  /** File of requests as `writeRequests` makes it. */
  requestsFile: string;
  connections: number;
  seconds: number;
}

export function wrkCommand(
  wrk: string,
  { port, isSecure, requestsFile, connections, seconds }: ClosedLoop,
): string[] {
  return [
    wrk,
    "--threads",
    "1",
    "--connections",
    String(connections),
    "--duration",
    `${seconds}s`,
    "--timeout",
    "10s",
    "--script",
    SCRIPT,
    `${isSecure === true ? "https" : "http"}://127.0.0.1:${port}/`,
    "--",
    requestsFile,
  ];
}

/** Reads what requests.lua has printed; throws when the line is missing. */
export function parseWrk(output: string): LoadResult {
  const json = /^RESULT (\{.*\})$/m.exec(output)?.[1];
  if (json === undefined) throw new Error(`wrk printed no result: ${output.slice(0, 500)}`);
  const raw = JSON.parse(json) as Record<string, number>;
  return {
    requests: raw.requests,
    requestsPerSecond: (raw.requests * 1e6) / raw.durationUs,
    p50Us: raw.p50Us,
    p99Us: raw.p99Us,
    p999Us: raw.p999Us,
    p9999Us: raw.p9999Us,
    failures: raw.statusErrors + raw.socketErrors,
  };
}
