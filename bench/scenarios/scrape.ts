/**
 * A scrape of a crowded node: 10,000 routes, each with `prometheus` and 20 nodes, used until the default cap of series
 * is reached. How long it takes, how much memory it needs, and whether the traffic notices.
 *
 * Control renders the page on a core of its own where there is one more than the load needs; with two cores it shares
 * them with everything else.
 */

import type { ChildProcess } from "node:child_process";
import { join } from "node:path";
import { SCRAPE_ROW } from "../bars.ts";
import { shuffled } from "../load/request-list.ts";
import { memoryOf } from "../measure.ts";
import type { Cardea } from "../peers/cardea.ts";
import { pause } from "../processes.ts";
import type { Row } from "../results.ts";
import { ORIGIN_ADDRESSES } from "../peers/nginx.ts";
import { crowdedRoutes } from "../routes.ts";
import { median } from "../statistics.ts";
import { halfLoad } from "./open-loop.ts";
import { endBystander } from "../stage.ts";
import type { Stage } from "../stage.ts";
import { scrapeOnce } from "../metrics-client.ts";
import type { Scenario } from "./scenario.ts";

const ROUTES = 10_000;
/** Each route meets several of its nodes, until the cap of series is reached. */
const TURNS = 6;
const SETTLING_MS = 2000;
const SCRAPES = 7;
/** As Prometheus does by default. Each turn sees one, besides the one before it is measured. */
const INTERVAL_MS = 15_000;
const TURN_SECONDS = 16;
const SCRAPER_PROGRAM = join(import.meta.dirname, "..", "scraper.ts");

export const scrape: Scenario = {
  name: "scrape",
  title: `A scrape with ${ROUTES.toLocaleString("en")} routes of ${ORIGIN_ADDRESSES.length} nodes, and the traffic meanwhile`,
  async run(stage) {
    const set = crowdedRoutes(ROUTES, stage.originPort);
    const cardea = await stage.cardea("crowded", () => set, { anyCore: true });
    await stage.load.useAll(cardea, shuffled(set.requests), TURNS);
    await pause(SETTLING_MS);
    const alone = await scrapeAlone(cardea);
    const targets = set.requests.map(({ target }) => target);
    const rate = await halfLoad(stage, [cardea], targets);
    const rows = ["at rest", "scraped every 15 s"].map((name) => ({ name, peer: cardea }));
    const traffic = await stage.inTurns("scrape", rows, async (i) => {
      const scraping = i === 0 ? null : scrapeAgainAndAgain(stage, cardea);
      try {
        return await stage.load.h2load(cardea.port, targets, rate, TURN_SECONDS);
      } finally {
        if (scraping !== null) await endBystander(scraping);
      }
    });
    return [alone, ...traffic];
  },
};

async function scrapeAlone(cardea: Cardea): Promise<Row> {
  const root = cardea.process.pid!;
  const before = memoryOf(root).rssMb;
  let most = before;
  const watch = setInterval(() => {
    most = Math.max(most, memoryOf(root).rssMb);
  }, 20);
  const seconds: number[] = [];
  let bytes = 0;
  for (let i = 0; i < SCRAPES; i++) {
    const startedAt = performance.now();
    bytes = await scrapeOnce(cardea.metricsPort);
    seconds.push((performance.now() - startedAt) / 1000);
  }
  clearInterval(watch);
  most = Math.max(most, memoryOf(root).rssMb);
  return {
    scenario: "scrape",
    contender: SCRAPE_ROW,
    pageMb: bytes / 1e6,
    seconds: median(seconds),
    memoryMb: most - before,
  };
}

function scrapeAgainAndAgain(stage: Stage, { metricsPort }: Cardea): ChildProcess {
  const args = [SCRAPER_PROGRAM, String(metricsPort), String(INTERVAL_MS)];
  return stage.startBystander("scraper", process.execPath, args);
}
