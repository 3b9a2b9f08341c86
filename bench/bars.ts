/**
 * The bars that Cardea must not exceed. All are ratios within one run or coarse absolutes, since machines
 * differ. A bar whose rows were not measured (`--only`) is passed over.
 */

import { findRow } from "./results.ts";
import type { Figures, Row } from "./results.ts";
import { COMPILED_ROW } from "./scenarios/memory.ts";

export interface Bar {
  name: string;
  limit: number;
  unit: "×" | "µs" | "MB" | "s";
  measured(rows: readonly Row[]): number | undefined;
}

export interface Verdict {
  bar: Bar;
  measured: number | undefined;
  holds: boolean;
}

type Place = readonly [scenario: string, contender: string];

const ADDED_US = 1.5;
const HELLO_US = 50;
export const JUDGED_ROW = "cardea, tls-fingerprint";
export const SCRAPE_ROW = "one scrape";
/** What nearly every route has. The others have a row in the table, and no bar. */
const CHEAP_PLUGINS = [
  "key-auth",
  "limit-count",
  "prometheus",
  "ip-restriction",
  "cors",
  "request-id",
  "proxy-rewrite",
];

export const BARS: readonly Bar[] = [
  ratio("bare proxy: CPU per request against nginx", 1.5, "cpuUs", ["bare", "cardea"], ["bare", "nginx"]),
  ...CHEAP_PLUGINS.map((plugin): Bar => {
    return {
      name: `${plugin}: CPU per request that its handlers add`,
      limit: ADDED_US,
      unit: "µs",
      measured: (rows) => findRow(rows, "plugin-handlers", plugin)?.addedUs,
    };
  }),
  ratio(
    "50,000 routes used uniformly: CPU against 10",
    1.15,
    "cpuUs",
    ["routes", "50,000 uniform"],
    ["routes", "10"],
  ),
  ratio(
    "50,000 routes used by Zipf's law: CPU against 10",
    1.05,
    "cpuUs",
    ["routes", "50,000 Zipf"],
    ["routes", "10"],
  ),
  ratio(
    "open loop at half load: p99.9 against nginx",
    2,
    "p999Us",
    ["open-loop", "cardea"],
    ["open-loop", "nginx"],
  ),
  ratio("churn: p99.9 against rest", 1.25, "p999Us", ["churn", "100 changes/s"], ["churn", "at rest"]),
  ratio(
    "churn through an etcd: p99.9 against rest",
    1.25,
    "p999Us",
    ["churn-etcd", "100 changes/s"],
    ["churn-etcd", "at rest"],
  ),
  ...["hangs", "503", "endless, 1 MB/s to each"].map((ill) =>
    ratio(
      `bulkheads: p99 beside an upstream that is ill (${ill}) against one that is well`,
      1.1,
      "p99Us",
      ["bulkheads", `cardea, ${ill}`],
      ["bulkheads", "cardea, well"],
    ),
  ),
  absolute("scrape with 10,000 routes of 20 nodes", 0.3, "s", "seconds", ["scrape", SCRAPE_ROW]),
  absolute("scrape with 10,000 routes of 20 nodes: memory", 100, "MB", "memoryMb", ["scrape", SCRAPE_ROW]),
  ratio(
    "scrape: p99.9 of the traffic against rest",
    1.25,
    "p999Us",
    ["scrape", "scraped every 15 s"],
    ["scrape", "at rest"],
  ),
  ratio("proxy over TLS: CPU per request against nginx", 1.5, "cpuUs", ["tls", "cardea"], ["tls", "nginx"]),
  ratio(
    "HTTP/2 with 32 streams per connection: CPU per request against nginx",
    2.5,
    "cpuUs",
    ["http2", "cardea"],
    ["http2", "nginx"],
  ),
  // 0.6 × its handshakes per second.
  ratio(
    "TLS 1.3 handshakes: CPU against nginx",
    1 / 0.6,
    "cpuUs",
    ["tls-handshakes", "cardea"],
    ["tls-handshakes", "nginx"],
  ),
  {
    name: "a plugin in the client hello: CPU that it adds to a handshake",
    limit: HELLO_US,
    unit: "µs",
    measured(rows) {
      const [judged, bare] = [JUDGED_ROW, "cardea"].map((row) => findRow(rows, "tls-handshakes", row)?.cpuUs);
      return judged === undefined || bare === undefined ? undefined : judged - bare;
    },
  },
  absolute("idle with two workers: memory", 150, "MB", "memoryMb", ["memory", "idle, two workers"]),
  absolute("start with 50,000 routes", 10, "s", "seconds", ["start", "50,000 routes"]),
  absolute("50,000 routes with four plugins: compiled, alive in a worker's heap", 100, "MB", "memoryMb", [
    "memory",
    COMPILED_ROW,
  ]),
];

export function judge(rows: readonly Row[], bars: readonly Bar[] = BARS): Verdict[] {
  return bars.map((bar) => {
    const measured = bar.measured(rows);
    return { bar, measured, holds: measured === undefined || measured <= bar.limit };
  });
}

function ratio(name: string, limit: number, figure: keyof Figures, of: Place, to: Place): Bar {
  return {
    name,
    limit,
    unit: "×",
    measured(rows) {
      const [above, below] = [findRow(rows, ...of)?.[figure], findRow(rows, ...to)?.[figure]];
      return above === undefined || below === undefined ? undefined : above / below;
    },
  };
}

function absolute(name: string, limit: number, unit: "MB" | "s", figure: keyof Figures, place: Place): Bar {
  return { name, limit, unit, measured: (rows) => findRow(rows, ...place)?.[figure] };
}
