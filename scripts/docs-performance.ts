/**
 * Writes the table of docs/performance.md from the last run of the benchmark (`bench/results/latest.json`). What stands
 * outside the two markers is written by hand. Fails when the run had no `plugin-handlers`.
 */

import { readFileSync, writeFileSync } from "node:fs";
import type { Results } from "../bench/results.ts";
import { tableText } from "../bench/report.ts";

const BEGIN = "<!-- plugin-handlers: made by scripts/docs-performance.ts from a run of the benchmark -->";
const END = "<!-- end of plugin-handlers -->";

const results = JSON.parse(
  readFileSync(new URL("../bench/results/latest.json", import.meta.url), "utf8"),
) as Results;
const rows = results.rows.filter(({ scenario }) => scenario === "plugin-handlers");
if (rows.length === 0) throw new Error("bench/results/latest.json has no plugin-handlers: run it first");
const { cpu, kernel, node } = results.machine;
const origin = `Measured ${results.startedAt.slice(0, 10)} on ${cpu}, Linux ${kernel}, Node.js ${node}.`;
const table = tableText(rows.map(({ requestsPerSecond: _1, failures: _2, ...row }) => row));

const file = new URL("../docs/performance.md", import.meta.url);
const page = readFileSync(file, "utf8");
const [head, tail] = [page.indexOf(BEGIN), page.indexOf(END)];
if (head === -1 || tail < head) throw new Error(`docs/performance.md: expected ${BEGIN} ... ${END}`);
writeFileSync(file, `${page.slice(0, head)}${BEGIN}\n\n${origin}\n\n${table}\n\n${page.slice(tail)}`);
