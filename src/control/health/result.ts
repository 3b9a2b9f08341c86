/** What the outcome of a probe counts as, and how many of it in a row turn the state. */

import type { ActiveChecks } from "../../model/health-checks.ts";
import { HTTP_FAILURE, type Result, SUCCESS, TCP_FAILURE, TIMEOUT } from "../../shared/health-state.ts";
import type { ProbeOutcome } from "./probe.ts";

export interface CountedResult {
  result: Result;
  limit: number;
}

/** Null: a status that is in neither list says nothing. */
export function resultOf({ healthy, unhealthy }: ActiveChecks, outcome: ProbeOutcome): CountedResult | null {
  const good: CountedResult = { result: SUCCESS, limit: healthy.successes };
  const bad: CountedResult = { result: HTTP_FAILURE, limit: unhealthy.http_failures };
  switch (outcome.outcome) {
    case "connected":
      return good;
    case "serving":
      return outcome.isServing ? good : bad;
    case "failed":
      return { result: TCP_FAILURE, limit: unhealthy.tcp_failures };
    case "timeout":
      return { result: TIMEOUT, limit: unhealthy.timeouts };
    default:
      if (healthy.http_statuses.includes(outcome.status)) return good;
      return unhealthy.http_statuses.includes(outcome.status) ? bad : null;
  }
}
