/** All scenarios, in the order in which they run. */

import { bulkheads } from "./bulkheads.ts";
import { http2 } from "./http2.ts";
import { memory, start } from "./memory.ts";
import { churn, churnOnEtcd, openLoop } from "./open-loop.ts";
import { pluginCost, pluginHandlers } from "./plugin-cost.ts";
import { plugins } from "./plugins.ts";
import { bare, bodies, logged } from "./proxy.ts";
import { parameters, routes } from "./routes.ts";
import { scrape } from "./scrape.ts";
import { streams } from "./stream.ts";
import { tlsHandshakes, tlsRequests } from "./tls.ts";
import type { Scenario } from "./scenario.ts";

export const SCENARIOS: readonly Scenario[] = [
  bare,
  logged,
  ...bodies,
  plugins,
  pluginHandlers,
  pluginCost,
  routes,
  parameters,
  tlsRequests,
  tlsHandshakes,
  http2,
  ...streams,
  openLoop,
  churn,
  churnOnEtcd,
  bulkheads,
  scrape,
  memory,
  start,
];
