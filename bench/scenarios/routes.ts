/**
 * What the number of routes costs: 10, 1,000 and 50,000, used uniformly in random order and by Zipf's law.
 *
 * Each number has a Cardea of its own; nginx, which passes everything on without routes, gets the longest
 * list, so that the generator's part of the difference shows.
 */

import { shuffled, zipfDraws } from "../load/request-list.ts";
import { mixedRoutes } from "../routes.ts";
import type { RouteSet } from "../routes.ts";
import type { Contender, Stage } from "../stage.ts";
import type { Scenario } from "./scenario.ts";

export const MANY = 50_000;

export const routes: Scenario = {
  name: "routes",
  title: "Number of routes: hosts, wildcards, prefixes, conditions (radixtree_host_uri)",
  async run(stage) {
    const few = await contender(stage, 10);
    const some = await contender(stage, 1000);
    const many = await contender(stage, MANY);
    return stage.closedLoop("routes", [
      { name: "nginx", peer: await stage.nginx(), requests: many.uniform.requests },
      few.uniform,
      some.uniform,
      some.zipf,
      many.uniform,
      many.zipf,
    ]);
  },
};

export const parameters: Scenario = {
  name: "parameters",
  title: "Number of routes, with path parameters (radixtree_uri_with_parameter)",
  async run(stage) {
    const few = await contender(stage, 10, true);
    const many = await contender(stage, MANY, true);
    return stage.closedLoop("parameters", [few.uniform, many.uniform, many.zipf]);
  },
};

async function contender(
  stage: Stage,
  count: number,
  withParameters = false,
): Promise<{ uniform: Contender; zipf: Contender }> {
  const set = routeSet(stage, count, withParameters);
  const peer = await stage.cardea(seedName(count, withParameters), () => set, {
    router: withParameters ? "radixtree_uri_with_parameter" : "radixtree_host_uri",
  });
  const number = count.toLocaleString("en");
  return {
    uniform: { name: count < 100 ? number : `${number} uniform`, peer, requests: shuffled(set.requests) },
    zipf: { name: `${number} Zipf`, peer, requests: zipfDraws(set.requests) },
  };
}

export function routeSet(stage: Stage, count: number, withParameters = false): RouteSet {
  return mixedRoutes(count, stage.originPort, { withParameters });
}

export function seedName(count: number, withParameters = false): string {
  return `${count} routes${withParameters ? " with parameters" : ""}`;
}
