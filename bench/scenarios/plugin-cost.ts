/**
 * What each plugin adds to a request, measured twice, since it is little.
 *
 * `plugin-handlers`: in a gateway in memory, in thousands of short blocks; exact to a tenth of a microsecond also on a
 * machine that is not quiet. `plugin-cost`: with sockets, every row a route of one Cardea, in turns of a second, each
 * between two turns of the route without a plugin (`Stage.paired`); shows what the first cannot see, as bytes that a plugin adds.
 *
 * The configurations are those of a usual use: what a plugin refuses, or answers itself, is not what is measured.
 */

import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import type { Figures } from "../results.ts";
import { COSTED_PLUGINS, costRoutes } from "../routes.ts";
import type { Scenario } from "./scenario.ts";

const PROGRAM = join(import.meta.dirname, "..", "plugin-handlers.ts");
/** Of the program's blocks, for each round of the benchmark; all plugins together take some 0.03 s. */
const ROUNDS_PER_ROUND = 200;
/** Then garbage is collected all the time, and what a plugin allocates is part of its cost. */
const SMALL_YOUNG_GENERATION = "--max-semi-space-size=1";
const TIMEOUT_MS = 600_000;

export const pluginHandlers: Scenario = {
  name: "plugin-handlers",
  title: "What each plugin adds in the gateway's own code, without sockets",
  async run(stage) {
    const rounds = String(stage.settings.rounds * ROUNDS_PER_ROUND);
    const { stdout } = await promisify(execFile)(
      process.execPath,
      [SMALL_YOUNG_GENERATION, PROGRAM, rounds],
      {
        timeout: TIMEOUT_MS,
      },
    );
    const rows = JSON.parse(stdout) as (Figures & { name: string })[];
    return rows.map(({ name, cpuUs, addedUs, spreadUs }) => {
      return { scenario: "plugin-handlers", contender: name, cpuUs, addedUs, spreadUs };
    });
  },
};

export const pluginCost: Scenario = {
  name: "plugin-cost",
  title: "What each plugin adds to a request that passes through it, with sockets",
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
