/**
 * Latency in an open loop at half load: against nginx, and while the configuration changes.
 *
 * Half load is half of what the slower one of nginx and Cardea reached just before, in a closed loop on this machine
 * with the same requests over as many connections as the open loop will have: a request costs more the more connections
 * take turns (all gateways: each comes back to memory that the caches have forgotten). Both then get the same rate.
 */

import { join } from "node:path";
import type { ChildProcess } from "node:child_process";
import { planOpenLoop } from "../load/h2load.ts";
import { shuffled, writeRequests } from "../load/request-list.ts";
import type { Cardea } from "../peers/cardea.ts";
import type { Peer } from "../peers/peer.ts";
import { isSteadyRoute } from "../routes.ts";
import type { RouteSet } from "../routes.ts";
import type { Row } from "../results.ts";
import type { Stage } from "../stage.ts";
import { endBystander } from "../stage.ts";
import { bareCardea } from "./proxy.ts";
import { MANY, routeSet, seedName } from "./routes.ts";
import type { Scenario } from "./scenario.ts";

const CALIBRATION_SECONDS = 3;
const CHANGES_PER_SECOND = 100;
/** In production it is every 15 s; runs are short, and each should see one. */
const SCRAPE_SECONDS = 5;
const CHURN_PROGRAM = join(import.meta.dirname, "..", "churn.ts");

export const openLoop: Scenario = {
  name: "open-loop",
  title: "Open loop at half load, 1 KiB answers",
  async run(stage) {
    const contenders = [
      { name: "nginx", peer: await stage.nginx() },
      { name: "cardea", peer: await bareCardea(stage) },
    ];
    const rate = await halfLoad(
      stage,
      contenders.map(({ peer }) => peer),
      ["/"],
    );
    return stage.inTurns("open-loop", contenders, (i) =>
      stage.load.h2load(contenders[i].peer.port, ["/"], rate, stage.settings.secondsPerRound),
    );
  },
};

export const churn: Scenario = {
  name: "churn",
  title: "50,000 routes at half load: at rest, and with 100 changes per second and metrics scraped",
  async run(stage) {
    const set = routeSet(stage, MANY);
    return underChurn("churn", stage, set, await stage.cardea(seedName(MANY), () => set));
  },
};

export const churnOnEtcd: Scenario = {
  name: "churn-etcd",
  title: "The same with the routes in an etcd, through which the changes go",
  async run(stage) {
    const set = routeSet(stage, MANY);
    return underChurn("churn-etcd", stage, set, await stage.cardeaOnEtcd(set));
  },
};

async function underChurn(name: string, stage: Stage, set: RouteSet, cardea: Cardea): Promise<Row[]> {
  const targets = set.requests.filter((_, i) => isSteadyRoute(i)).map(({ target }) => target);
  const rate = await halfLoad(stage, [cardea], targets);
  const rows = ["at rest", `${CHANGES_PER_SECOND} changes/s`].map((row) => ({ name: row, peer: cardea }));
  return stage.inTurns(name, rows, async (i) => {
    const changes = i === 0 ? null : startChurn(stage, cardea);
    try {
      return await stage.load.h2load(cardea.port, targets, rate, stage.settings.secondsPerRound);
    } finally {
      if (changes !== null) await endBystander(changes);
    }
  });
}

/** Requests per second to these targets, half of what the slowest of the peers can serve over that many connections. */
export async function halfLoad(
  stage: Stage,
  peers: readonly Peer[],
  targets: readonly string[],
): Promise<number> {
  const file = join(stage.newFolder("calibration"), "requests");
  writeRequests(
    file,
    shuffled(targets).map((target) => ({ target })),
  );
  const few = await slowest(stage, peers, file);
  const { connections } = planOpenLoop(few / 2, CALIBRATION_SECONDS);
  return Math.round((await slowest(stage, peers, file, connections)) / 2);
}

async function slowest(
  stage: Stage,
  peers: readonly Peer[],
  file: string,
  connections?: number,
): Promise<number> {
  const rates: number[] = [];
  for (const peer of peers) {
    await stage.load.wrk(peer, file, 1, connections);
    rates.push((await stage.load.wrk(peer, file, CALIBRATION_SECONDS, connections)).requestsPerSecond);
  }
  return Math.min(...rates);
}

function startChurn(stage: Stage, { adminPort, metricsPort }: Cardea): ChildProcess {
  const numbers = [adminPort, metricsPort, stage.originPort, MANY, CHANGES_PER_SECOND, SCRAPE_SECONDS];
  return stage.startBystander("churn", process.execPath, [CHURN_PROGRAM, ...numbers.map(String)]);
}
