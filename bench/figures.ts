/** Figures of a turn, and of many. */

import type { LoadResult } from "./load/result.ts";
import type { cpuOf } from "./measure.ts";
import type { Figures } from "./results.ts";
import { median } from "./statistics.ts";

/** `before` and `after`: what the gateway had used. */
export function figuresOf(
  result: LoadResult,
  before: ReturnType<typeof cpuOf>,
  after: ReturnType<typeof cpuOf>,
): Figures {
  const userUs = (after.userUs - before.userUs) / result.requests;
  const systemUs = (after.systemUs - before.systemUs) / result.requests;
  const { requestsPerSecond, p50Us, p99Us, p999Us, p9999Us, failures } = result;
  return {
    cpuUs: userUs + systemUs,
    userUs,
    systemUs,
    requestsPerSecond,
    p50Us,
    p99Us,
    p999Us,
    p9999Us,
    failures,
  };
}

/** Median of each figure; failures are added up. */
export function medianFigures(rounds: readonly Figures[]): Figures {
  const figures: Figures = {};
  for (const name of Object.keys(rounds[0] ?? {}) as (keyof Figures)[]) {
    const values = rounds.map((round) => round[name]!);
    figures[name] = name === "failures" ? values.reduce((sum, value) => sum + value, 0) : median(values);
  }
  return figures;
}
