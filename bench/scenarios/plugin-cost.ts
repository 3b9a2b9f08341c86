/**
 * What each plugin adds to a request: every row is a route of one Cardea, measured in short turns, each between two
 * turns of the route without a plugin. See `Stage.paired`.
 *
 * The configurations are those of a usual use: what a plugin refuses, or answers itself, is not what is measured.
 */

import { COSTED_PLUGINS, costRoutes } from "../routes.ts";
import type { Scenario } from "./scenario.ts";

export const pluginCost: Scenario = {
  name: "plugin-cost",
  title: "What each plugin adds to a request that passes through it",
  async run(stage) {
    const routes = costRoutes(stage.originPort);
    const cardea = await stage.cardea("plugin-cost", () => routes);
    const [base, ...contenders] = ["bare", ...Object.keys(COSTED_PLUGINS)].map((name, i) => ({
      name,
      peer: cardea,
      requests: [routes.requests[i]],
    }));
    return stage.paired("plugin-cost", base, contenders);
  },
};
