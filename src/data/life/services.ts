/** What the life of a request needs of the rest of the worker. */

import type { HttpConfig } from "../../config/static-config.ts";
import type { AddressSet } from "../../lib/address.ts";
import type { PathRules } from "../../lib/uri.ts";
import type { PluginLog } from "../../plugin/host.ts";
import type { AccessLog } from "../access-log.ts";
import type { Configuration } from "../configuration/configuration.ts";
import type { MetricLane } from "../../shared/metric-lane.ts";
import type { Deadlines } from "../deadlines.ts";
import type { HttpExchange } from "../exchange/exchange.ts";
import type { Fallback } from "../fallback.ts";

export interface LifeServices {
  configuration: Configuration;
  http: HttpConfig;
  deadlines: Deadlines;
  /** Absent: tunnels are not counted. */
  metrics?: MetricLane;
  pathRules: PathRules;
  /** Peers whose X-Forwarded-* are believed; null: no boundary is configured. */
  trusted: AddressSet | null;
  /** Value of the `Server` field. */
  serverName: string;
  accessLog: AccessLog | null;
  /** Takes requests that no route knows; null: they get 404. */
  fallback: Fallback | null;
  log: PluginLog;
  /** True while the worker must not take more work. */
  isOverloaded(): boolean;
  onBegin(): void;
  onEnd(x: HttpExchange): void;
}
