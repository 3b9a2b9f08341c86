/** All scenarios, in the order in which they run. */

import { memory, start } from "./memory.ts";
import { churn, openLoop } from "./open-loop.ts";
import { plugins } from "./plugins.ts";
import { bare, bodies, logged } from "./proxy.ts";
import { parameters, routes } from "./routes.ts";
import type { Scenario } from "./scenario.ts";

export const SCENARIOS: readonly Scenario[] = [
  bare,
  logged,
  ...bodies,
  plugins,
  routes,
  parameters,
  openLoop,
  churn,
  memory,
  start,
];
