/** What a gateway tells the others of itself, in the store. */

import { isRecord } from "../discovery/registry-client.ts";
import type { DrainState } from "../health/drains.ts";

export interface GatewayReport {
  /** See `gateway-id.ts`. */
  id: string;
  hostname: string;
  version: string;
  /** Seconds since 1970. */
  startedAt: number;
  /** What it publishes to its workers, and what all of them have. */
  publishedRevision: number;
  appliedRevision: number;
  /** By the ids of resources. */
  drains: Record<string, DrainReport>;
}

export interface DrainReport {
  /** Of the drain that is told of: an earlier one of the same node had another. */
  mark: string;
  isDrained: boolean;
  inFlight: number;
  workers: DrainState["workers"];
}

export function reportText(report: GatewayReport): string {
  return JSON.stringify(report);
}

/** Null: it cannot be read. A later version may write more than this one knows. */
export function readReport(text: string): GatewayReport | null {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return null;
  }
  if (!isRecord(value) || typeof value["id"] !== "string" || !isRecord(value["drains"])) return null;
  for (const drain of Object.values(value["drains"])) {
    if (!isRecord(drain) || typeof drain["mark"] !== "string" || typeof drain["isDrained"] !== "boolean")
      return null;
    if (typeof drain["inFlight"] !== "number" || !isListOfRecords(drain["workers"])) return null;
  }
  return value as unknown as GatewayReport;
}

function isListOfRecords(value: unknown): boolean {
  return Array.isArray(value) && value.every(isRecord);
}
