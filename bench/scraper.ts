/**
 * Reads the metrics page again and again, until SIGTERM. Run as a program: scraper.ts METRICS_PORT INTERVAL_MS
 *
 * Exits with 1 when a scrape failed.
 */

import { scrapeOnce } from "./metrics-client.ts";
import { pause } from "./processes.ts";

const [metricsPort, intervalMs] = process.argv.slice(2).map(Number) as [number, number];
let isOver = false;
process.once("SIGTERM", () => {
  isOver = true;
});
while (!isOver) {
  await scrapeOnce(metricsPort);
  await pause(intervalMs);
}
