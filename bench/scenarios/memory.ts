/**
 * Memory (PSS of the whole process tree, and what lives of it in a worker's heap) and start time.
 *
 * What one more worker costs is the difference between two workers and one, each after every route was used. Less
 * the same difference of idle nodes it is what routes add to a worker: compiled routes, and garbage not yet collected.
 */

import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { shuffled } from "../load/request-list.ts";
import { memoryOf } from "../measure.ts";
import { pause } from "../processes.ts";
import type { Row } from "../results.ts";
import { fourPlugins, mixedRoutes } from "../routes.ts";
import type { RouteSet } from "../routes.ts";
import type { Stage } from "../stage.ts";
import { median } from "../statistics.ts";
import { MANY, routeSet, seedName } from "./routes.ts";
import type { Scenario } from "./scenario.ts";

const SETTLING_MS = 5000;
/** Two workers share the requests: after six turns nearly every worker has seen every route. */
const TURNS = 6;
const STARTS = 3;

export const COMPILED_ROW =
  "50,000 routes, four plugins, alive in a worker: compiled by their first requests";

export const memory: Scenario = {
  name: "memory",
  title: "Memory, MB of the whole process tree (PSS)",
  async run(stage) {
    const none: RouteSet = { base: [], routes: [], requests: [] };
    const bareSet = routeSet(stage, MANY);
    const pluginSet = mixedRoutes(MANY, stage.originPort, { plugins: fourPlugins });
    const rows: Row[] = [];
    const add = (contender: string, memoryMb: number): void => {
      rows.push({ scenario: "memory", contender, memoryMb });
    };
    const idleOne = await settled(stage, "empty", none, 1);
    const idleTwo = await settled(stage, "empty", none, 2);
    add("idle, one worker", idleOne);
    add("idle, two workers", idleTwo);
    for (const [name, seed, set] of [
      ["50,000 routes, bare", seedName(MANY), bareSet],
      ["50,000 routes, four plugins", `${seedName(MANY)}, four plugins`, pluginSet],
    ] as const) {
      const one = await settled(stage, seed, set, 1);
      const two = await settled(stage, seed, set, 2);
      add(`${name}, one worker`, one);
      add(`${name}, added to a worker`, two - one - (idleTwo - idleOne));
    }
    const { placedMb, compiledMb } = await liveHeap();
    add("50,000 routes, four plugins, alive in a worker: placed in the router", placedMb);
    add(COMPILED_ROW, compiledMb);
    return rows;
  },
};

export const start: Scenario = {
  name: "start",
  title: "Start, until the node says that it is ready, two workers",
  async run(stage) {
    const set = routeSet(stage, MANY);
    const seconds: number[] = [];
    for (let i = 0; i < STARTS; i++) {
      const cardea = await stage.cardea(seedName(MANY), () => set, { workers: 2, anyCore: true });
      seconds.push(cardea.startSeconds);
      await stage.closePeers();
    }
    return [{ scenario: "start", contender: "50,000 routes", seconds: median(seconds) }];
  },
};

async function liveHeap(): Promise<{ placedMb: number; compiledMb: number }> {
  const script = join(import.meta.dirname, "..", "live-heap.ts");
  const { stdout } = await promisify(execFile)(process.execPath, ["--expose-gc", script]);
  return JSON.parse(stdout) as { placedMb: number; compiledMb: number };
}

async function settled(stage: Stage, seed: string, set: RouteSet, workers: number): Promise<number> {
  const cardea = await stage.cardea(seed, () => set, { workers, anyCore: true });
  if (set.requests.length > 0)
    await stage.load.useAll(cardea, shuffled(set.requests), workers === 1 ? 1 : TURNS);
  await pause(SETTLING_MS);
  const { pssMb } = memoryOf(cardea.process.pid!);
  await stage.closePeers();
  return pssMb;
}
