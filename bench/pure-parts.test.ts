/** The parts of the benchmark that compute: statistics, what generators and /proc print, report and chart. */

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { test } from "node:test";
import * as fc from "fast-check";
import { BARS, judge } from "./bars.ts";
import { chartText } from "./chart.ts";
import { medianFigures } from "./figures.ts";
import { parseH2loadLog, planOpenLoop } from "./load/h2load.ts";
import { parseMultiplexedLog } from "./load/multiplexed.ts";
import { requestText, shuffled, zipfDraws } from "./load/request-list.ts";
import { parseWrk } from "./load/wrk.ts";
import { cpuOf, memoryOf, parseStat, treeOf } from "./measure.ts";
import { reportText, tableText } from "./report.ts";
import type { Results, Row } from "./results.ts";
import { mixedRoutes } from "./routes.ts";
import { correctForOmission, median, percentile } from "./statistics.ts";
import { findTools } from "./tools.ts";

test("the median is the middle value, or the mean of the two middle ones", () => {
  assert.equal(median([3, 1, 2]), 2);
  assert.equal(median([4, 1, 2, 3]), 2.5);
  assert.ok(Number.isNaN(median([])));
});

test("a percentile is one of the values, with at least its share of them not above it", () => {
  const values = fc.array(fc.nat(), { minLength: 1 }).map((list) => list.sort((a, b) => a - b));
  fc.assert(
    fc.property(values, fc.double({ min: 0, max: 1, noNaN: true }), (ascending, share) => {
      const found = percentile(ascending, share);
      const notAbove = ascending.filter((value) => value <= found).length;
      const below = ascending.filter((value) => value < found).length;
      assert.ok(notAbove >= share * ascending.length);
      assert.ok(below === 0 || below < share * ascending.length);
    }),
  );
});

test("a slow answer counts once for every request that it kept from being sent", () => {
  assert.deepEqual([...correctForOmission([35, 2], 10)], [2, 15, 25, 35]);
  assert.deepEqual([...correctForOmission([10, 9], 10)], [9, 10]);
});

test("wrk's summary is read from between its other lines", () => {
  const line =
    'RESULT {"requests":100,"durationUs":2000000,"p50Us":10,"p99Us":20,"p999Us":30,"p9999Us":40,' +
    '"statusErrors":1,"socketErrors":2}';
  const result = parseWrk(`Running 2s test\n\n${line}\nmore\n`);
  assert.equal(result.requestsPerSecond, 50);
  assert.equal(result.p999Us, 30);
  assert.equal(result.failures, 3);
  assert.throws(() => parseWrk("unable to connect"), /printed no result: unable to connect/);
});

test("h2load's log is counted from the end of the opening phase on", () => {
  const plan = { connections: 1, ratePerConnection: 1, requests: 4, openingMs: 1 };
  const log = ["2000\t200\t30", "500\t200\t999999", "1500\t200\t10", "2500\t-1\t5", "1700\t404\t7", ""].join(
    "\n",
  );
  const result = parseH2loadLog(log, plan);
  assert.equal(result.requests, 5);
  assert.equal(result.failures, 2);
  assert.equal(result.p50Us, 10);
  assert.equal(result.p9999Us, 30);
  assert.throws(() => parseH2loadLog("", plan), /logged no request/);
});

test("h2load's log of many streams counts all that ended, and takes times of those with an answer", () => {
  const log = ["2000\t200\t30", "500\t204\t10", "1500\t-1\t99", "1700\t503\t98", ""].join("\n");
  const result = parseMultiplexedLog(log, 2);
  assert.equal(result.requests, 4);
  assert.equal(result.requestsPerSecond, 2);
  assert.equal(result.failures, 2);
  assert.equal(result.p50Us, 10);
  assert.equal(result.p9999Us, 30);
  assert.throws(() => parseMultiplexedLog("", 2), /logged no answer/);
});

test("an open loop has connections that h2load can time, and reaches the asked rate", () => {
  fc.assert(
    fc.property(fc.integer({ min: 100, max: 100_000 }), (rate) => {
      const plan = planOpenLoop(rate, 5);
      assert.ok(plan.ratePerConnection <= 50);
      assert.ok(Math.abs(plan.connections * plan.ratePerConnection - rate) <= rate * 0.05);
    }),
  );
});

test("a process name with spaces and parentheses does not shift the fields of /proc/PID/stat", () => {
  const stat = parseStat("12 (a) b (c) S 7 1 1 0 -1 4194560 1 2 3 4 150 50 0 0 20 0 1 0 1");
  assert.deepEqual(stat, { parent: 7, userUs: 1_500_000, systemUs: 500_000 });
});

test("CPU time and memory of this very process are found", { skip: !existsSync("/proc/self/stat") }, () => {
  assert.ok(treeOf(process.pid).includes(process.pid));
  assert.ok(cpuOf(process.pid).userUs > 0);
  const { pssMb, rssMb } = memoryOf(process.pid);
  assert.ok(pssMb > 1 && rssMb >= pssMb);
});

test("the shuffled list holds each item once, and is the same every time", () => {
  const items = Array.from({ length: 1000 }, (_, i) => i);
  const list = shuffled(items);
  assert.notDeepEqual(list, items);
  assert.deepEqual(shuffled(items), list);
  assert.deepEqual(
    [...list].sort((a, b) => a - b),
    items,
  );
});

test("Zipf's draws prefer the first rank to the second as two to one", () => {
  const draws = zipfDraws(
    Array.from({ length: 100 }, (_, i) => i),
    60_000,
  );
  const counts = new Map<number, number>();
  for (const draw of draws) counts.set(draw, (counts.get(draw) ?? 0) + 1);
  const ranked = [...counts.values()].sort((a, b) => b - a);
  assert.ok(Math.abs(ranked[0] / ranked[1] - 2) < 0.2, `${ranked[0]} to ${ranked[1]}`);
});

test("a request is framed by its own length", () => {
  const text = requestText({ method: "POST", target: "/x", body: "é" });
  assert.match(text, /^POST \/x HTTP\/1\.1\r\nhost: bench\.example\r\n/);
  assert.match(text, /\r\ncontent-length: 2\r\n\r\né$/);
});

test("every route has an id of its own and requests of nearly one length", () => {
  const { routes, requests } = mixedRoutes(1000, 1);
  assert.equal(new Set(routes.map(({ path }) => path)).size, 1000);
  const lengths = requests.map((request) => requestText(request).length);
  assert.ok(Math.max(...lengths) - Math.min(...lengths) < 32);
});

const ROWS: Row[] = [
  { scenario: "bare", contender: "nginx", cpuUs: 10, userUs: 2, systemUs: 8, requestsPerSecond: 1000 },
  { scenario: "bare", contender: "cardea", cpuUs: 16, userUs: 6, systemUs: 10, requestsPerSecond: 900 },
  { scenario: "start", contender: "50,000 routes", seconds: 2 },
];

test("a table has the columns that its rows have, and the ratio to nginx where there is nginx", () => {
  const table = tableText(ROWS.slice(0, 2));
  assert.match(table, /^\| {2}\| CPU µs\/request \| user \| system \| requests\/s \| CPU × nginx \|\n/);
  assert.match(table, /\| cardea \| 16\.00 \| 6\.00 \| 10\.00 \| 900 \| 1\.60 \|/);
  assert.doesNotMatch(tableText(ROWS.slice(2)), /nginx|p99/);
});

test("bars tell what holds, what does not, and what was not measured", () => {
  const verdicts = new Map(judge(ROWS).map((verdict) => [verdict.bar.name, verdict]));
  const bare = verdicts.get("bare proxy: CPU per request against nginx")!;
  assert.equal(bare.measured, 1.6);
  assert.equal(bare.holds, false);
  assert.equal(verdicts.get("start with 50,000 routes")!.holds, true);
  assert.equal(verdicts.get("churn: p99.9 against rest")!.measured, undefined);
  assert.equal(verdicts.size, BARS.length);
});

test("failures of rounds are added up, other figures are medians", () => {
  assert.deepEqual(
    medianFigures([
      { cpuUs: 1, failures: 1 },
      { cpuUs: 5, failures: 0 },
      { cpuUs: 2, failures: 2 },
    ]),
    {
      cpuUs: 2,
      failures: 3,
    },
  );
});

test("the chart is well-formed and escapes what it shows", () => {
  const chart = chartText([{ ...ROWS[0], contender: "<a & b>" }, ...ROWS]);
  assert.match(chart, /&lt;a &amp; b&gt;/);
  assert.equal(chart.match(/<rect x=/g)?.length, 6);
  assert.equal(chart.match(/<text/g)?.length, chart.match(/<\/text>/g)?.length);
});

test("the report names the machine, the scenarios that failed and the bars", () => {
  const results: Results = {
    startedAt: "2026-11-21T00:00:00Z",
    rounds: 5,
    secondsPerRound: 5,
    machine: { cpu: "C", cores: 2, kernel: "6", node: "24", nginx: "nginx 1" },
    rows: ROWS,
    failures: [{ scenario: "churn", message: "it ended" }],
  };
  const text = reportText(results, new Map([["bare", "Bare proxy"]]), judge(ROWS));
  assert.match(text, /## bare: Bare proxy/);
  assert.match(text, /## churn: failed\n\nit ended/);
  assert.match(text, /1\.60 × \| \*\*no\*\*/);
});

test("missing programs are named with the command that installs them", () => {
  assert.throws(
    () => findTools("/nonexistent", []),
    /missing: nginx, wrk, h2load, taskset, etcd\. .*apt-get install .*nginx wrk nghttp2-client util-linux etcd-server/,
  );
});
