/** The health checker of the control thread and the drains beside it, with what the APIs show of it. */

import { join } from "node:path";
import type { FactFamily } from "../fact-families.ts";
import type { StaticConfig } from "../../config/static-config.ts";
import type { Log } from "../../lib/log.ts";
import type { ConfigurationItem } from "../../shared/configuration-bytes.ts";
import { HealthRegistry } from "../../shared/health-registry.ts";
import type { HealthTable } from "../../shared/health-table.ts";
import { monotonicMs } from "../../shared/threads.ts";
import { HealthChecker } from "./checker.ts";
import { Drains } from "./drains.ts";
import { HeldUpstreams } from "./held-upstreams.ts";
import { OutlierSlots } from "./outliers.ts";
import { type HealthReport, healthReport, tableFullness, upstreamStatus } from "./report.ts";
import { SavedStates } from "./saved-states.ts";

export interface Health {
  checker: HealthChecker;
  drains: Drains;
  report: HealthReport;
  /** Every item as it is published, before it is. */
  take(item: ConfigurationItem): void;
  /** The whole configuration was taken. */
  start(): void;
  families(): FactFamily[];
}

export function openHealth(
  table: HealthTable,
  config: Pick<StaticConfig, "healthChecks" | "store" | "tls">,
  dataFolder: string,
  log: Log,
): Health {
  // Keys of resources as APISIX shows them, which has none before those of a file.
  const prefix = config.store.type === "file" ? "" : "/apisix";
  const registry = new HealthRegistry(table);
  const saved = new SavedStates(join(dataFolder, "health.json"), table, log);
  const checker = new HealthChecker({
    registry,
    saved,
    log,
    authorities: config.tls.upstreamAuthorities,
  });
  const outliers = new OutlierSlots(registry, log);
  const held = new HeldUpstreams((key, upstream) => {
    if (config.healthChecks) checker.put(key, upstream);
    outliers.put(key, upstream);
  });
  const drains = new Drains(registry, join(dataFolder, "drains.json"), log);
  return {
    checker,
    drains,
    report: healthReport(checker, table, prefix),
    take(item) {
      if (config.healthChecks) checker.take(item);
      outliers.take(item);
      held.take(item);
      drains.take(item);
    },
    start() {
      drains.start();
      checker.start();
    },
    families: () => [
      upstreamStatus(checker, table, prefix),
      outliers.ejected(monotonicMs(), prefix),
      ...tableFullness(registry),
    ],
  };
}
