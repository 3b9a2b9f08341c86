/** Rollouts of a node, put together: who drives them, how often, and what is told of them. */

import type { Log } from "../../lib/log.ts";
import type { MetricReader } from "../../shared/metric-reader.ts";
import type { Control } from "../control.ts";
import { gatewayId } from "../gateways/gateway-id.ts";
import { RolloutDriver } from "./driver.ts";
import { readTotals } from "./measurement.ts";
import { RolloutReport } from "./report.ts";

const LOOK_EVERY_MS = 1000;

export interface OpenRollouts {
  report: RolloutReport;
  /** The configuration is loaded. */
  start(): void;
  stop(): void;
}

export function openRollouts(
  { rollouts: items, state, store, feed }: Control,
  hasTraffic: boolean,
  reader: MetricReader,
  dataFolder: string,
  log: Log,
): OpenRollouts {
  // Of the data folder: another process of it goes on at once.
  const [holder] = gatewayId(dataFolder).split(".", 1);
  const read = () => readTotals(reader);
  const driver = new RolloutDriver({ items, state, store, feed, read, hasTraffic, holder, log });
  let timer: NodeJS.Timeout | null = null;
  return {
    report: new RolloutReport(items, driver, holder),
    start() {
      timer ??= setInterval(() => void driver.look(), LOOK_EVERY_MS);
    },
    stop() {
      if (timer !== null) clearInterval(timer);
    },
  };
}
