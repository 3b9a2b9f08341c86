/** The health checker of the control thread, with what the APIs show of it. */

import { join } from "node:path";
import type { HealthReport } from "../../api/control/health.ts";
import type { FactFamily } from "../../api/metrics/exposition.ts";
import type { Log } from "../../lib/log.ts";
import { HealthRegistry } from "../../shared/health-registry.ts";
import type { HealthTable } from "../../shared/health-table.ts";
import { HealthChecker } from "./checker.ts";
import { healthReport, upstreamStatus } from "./report.ts";
import { SavedStates } from "./saved-states.ts";

export interface Health {
  checker: HealthChecker;
  report: HealthReport;
  families(): FactFamily[];
}

export function openHealth(table: HealthTable, dataFolder: string, log: Log): Health {
  const registry = new HealthRegistry(table);
  const saved = new SavedStates(join(dataFolder, "health.json"), table, log);
  const checker = new HealthChecker({ registry, saved, log });
  return {
    checker,
    report: healthReport(checker, table),
    families: () => [upstreamStatus(checker, table)],
  };
}
