/** What each common plugin adds to a request: all rows are routes of one Cardea. */

import { PLUGIN_ROWS, pluginRoutes } from "../routes.ts";
import type { Scenario } from "./scenario.ts";

export const plugins: Scenario = {
  name: "plugins",
  title: "Common plugins",
  async run(stage) {
    const routes = pluginRoutes(stage.originPort);
    const cardea = await stage.cardea("plugins", () => routes);
    return stage.closedLoop("plugins", [
      { name: "nginx", peer: await stage.nginx(), requests: [routes.requests[0]] },
      ...Object.keys(PLUGIN_ROWS).map((name, i) => ({ name, peer: cardea, requests: [routes.requests[i]] })),
    ]);
  },
};
