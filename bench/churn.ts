/**
 * Changes routes through the Admin API at a fixed rate and reads the metrics page, until SIGTERM. Run as a
 * program: churn.ts ADMIN_PORT METRICS_PORT ORIGIN_PORT ROUTES CHANGES_PER_SECOND SCRAPE_SECONDS
 *
 * A third of the changes give a route other plugins, a third other nodes, a third delete it or put it back.
 * Routes that carry the load are changed too, but never deleted. Exits with 1 when a change or a scrape
 * failed, or when fewer than 90 % of the changes were made.
 */

import { AdminClient } from "./admin-client.ts";
import { scrapeOnce } from "./metrics-client.ts";
import { isSteadyRoute, limitCount, mixedRoutes } from "./routes.ts";
import { seededRandom } from "./statistics.ts";

const TICK_MS = 50;
const REQUIRED_SHARE = 0.9;
const [adminPort, metricsPort, originPort, count, changesPerSecond, scrapeSeconds] = process.argv
  .slice(2)
  .map(Number) as [number, number, number, number, number, number];

const client = new AdminClient(adminPort);
const { routes } = mixedRoutes(count, originPort);
const random = seededRandom(performance.now());
const deleted: number[] = [];
const pending = new Set<Promise<void>>();
let made = 0;
let serial = 0;
const failures: string[] = [];

function change(): Promise<void> {
  serial++;
  const index = Math.floor(random() * count);
  const { path, body } = routes[index];
  const route = body as Record<string, unknown>;
  switch (serial % 3) {
    case 0:
      return client.put(path, { ...route, plugins: { "limit-count": limitCount(serial) } });
    case 1: {
      const { upstream_id: _, ...rest } = route;
      return client.put(path, {
        ...rest,
        upstream: { type: "roundrobin", nodes: [originNode(1 + (serial % 7))] },
      });
    }
    default: {
      if (deleted.length > 100) {
        const back = deleted.shift()!;
        return client.put(routes[back].path, routes[back].body);
      }
      if (isSteadyRoute(index) || deleted.includes(index)) return client.put(path, route);
      deleted.push(index);
      return client.delete(path);
    }
  }
}

function originNode(weight: number): Record<string, unknown> {
  return { host: "127.0.0.1", port: originPort, weight };
}

async function scrape(): Promise<void> {
  await scrapeOnce(metricsPort);
}

async function makeChange(): Promise<void> {
  await change();
  made++;
}

/** Remembers the work until it is over, and its failure for good. */
function follow(work: Promise<void>): void {
  const settled = settle(work);
  pending.add(settled);
  void settled.then(() => pending.delete(settled));
}

async function settle(work: Promise<void>): Promise<void> {
  try {
    await work;
  } catch (error) {
    failures.push(String(error));
  }
}

const startedAt = performance.now();
const ticker = setInterval(() => {
  const due = Math.floor(((performance.now() - startedAt) / 1000) * changesPerSecond);
  while (serial < due) {
    follow(makeChange());
  }
}, TICK_MS);
const scraper = setInterval(() => follow(scrape()), scrapeSeconds * 1000);

async function end(): Promise<void> {
  clearInterval(ticker);
  clearInterval(scraper);
  const due = ((performance.now() - startedAt) / 1000) * changesPerSecond;
  // What was deleted is put back, so that the next round finds the routes of the first.
  for (const index of deleted) follow(client.put(routes[index].path, routes[index].body));
  await Promise.all(pending);
  client.close();
  console.log(JSON.stringify({ due, made, failures: failures.length, examples: failures.slice(0, 5) }));
  process.exitCode = failures.length > 0 || made < due * REQUIRED_SHARE - changesPerSecond ? 1 : 0;
}

process.once("SIGTERM", () => void end());
