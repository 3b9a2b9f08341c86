/** The results as Markdown: one table per scenario with the columns that it has, then the bars. */

import type { Verdict } from "./bars.ts";
import { findRow } from "./results.ts";
import type { Figures, Results, Row } from "./results.ts";

interface Column {
  title: string;
  figure: keyof Figures;
  text(value: number): string;
}

const COLUMNS: readonly Column[] = [
  { title: "CPU µs/request", figure: "cpuUs", text: twoDigits },
  { title: "user", figure: "userUs", text: twoDigits },
  { title: "system", figure: "systemUs", text: twoDigits },
  { title: "added µs", figure: "addedUs", text: twoDigits },
  { title: "±", figure: "spreadUs", text: twoDigits },
  { title: "requests/s", figure: "requestsPerSecond", text: whole },
  { title: "p50", figure: "p50Us", text: milliseconds },
  { title: "p99", figure: "p99Us", text: milliseconds },
  { title: "p99.9", figure: "p999Us", text: milliseconds },
  { title: "p99.99", figure: "p9999Us", text: milliseconds },
  { title: "beside MB/s", figure: "besideMb", text: whole },
  { title: "MB", figure: "memoryMb", text: whole },
  { title: "s", figure: "seconds", text: twoDigits },
  { title: "page MB", figure: "pageMb", text: whole },
  { title: "failures", figure: "failures", text: whole },
];

export function reportText(
  results: Results,
  titles: ReadonlyMap<string, string>,
  verdicts: readonly Verdict[],
): string {
  const { machine } = results;
  const parts = [
    "# Benchmark",
    `${results.startedAt}, ${results.rounds} rounds of ${results.secondsPerRound} s, medians. ${machine.cpu}, ` +
      `${machine.cores} cores, Linux ${machine.kernel}, Node ${machine.node}, ${machine.nginx}.`,
    "![CPU per request](latest.svg)",
  ];
  for (const scenario of new Set(results.rows.map((row) => row.scenario))) {
    parts.push(
      `## ${scenario}: ${titles.get(scenario) ?? ""}`,
      tableText(results.rows.filter((row) => row.scenario === scenario)),
    );
  }
  for (const { scenario, message } of results.failures) parts.push(`## ${scenario}: failed`, message);
  if (verdicts.some(({ measured }) => measured !== undefined)) parts.push("## Bars", barsText(verdicts));
  return `${parts.join("\n\n")}\n`;
}

export function tableText(rows: readonly Row[]): string {
  const columns = COLUMNS.filter(({ figure }) => rows.some((row) => row[figure] !== undefined));
  const reference = findRow(rows, rows[0]?.scenario ?? "", "nginx")?.cpuUs;
  const head = [
    "",
    ...columns.map(({ title }) => title),
    ...(reference === undefined ? [] : ["CPU × nginx"]),
  ];
  const body = rows.map((row) => [
    row.contender,
    ...columns.map(({ figure, text }) => (row[figure] === undefined ? "" : text(row[figure]))),
    ...(reference === undefined ? [] : [row.cpuUs === undefined ? "" : twoDigits(row.cpuUs / reference)]),
  ]);
  return markdownTable(head, body);
}

function barsText(verdicts: readonly Verdict[]): string {
  return markdownTable(
    ["bar", "limit", "measured", "holds"],
    verdicts.map(({ bar, measured, holds }) => [
      bar.name,
      `${bar.limit} ${bar.unit}`,
      measured === undefined ? "not measured" : `${twoDigits(measured)} ${bar.unit}`,
      measured === undefined ? "" : holds ? "yes" : "**no**",
    ]),
  );
}

function markdownTable(head: readonly string[], body: readonly (readonly string[])[]): string {
  const rule = head.map((_, i) => (i === 0 ? "---" : "---:"));
  return [head, rule, ...body].map((cells) => `| ${cells.join(" | ")} |`).join("\n");
}

function twoDigits(value: number): string {
  return value.toFixed(2);
}

function whole(value: number): string {
  return Math.round(value).toLocaleString("en");
}

function milliseconds(us: number): string {
  return `${(us / 1000).toFixed(2)} ms`;
}
