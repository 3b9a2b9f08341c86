/**
 * The benchmark's command: runs scenarios, prints a table and saves it with the figures and a chart.
 *
 * Exits with 0 when all ran, with 1 when one failed or when, with `--check`, a bar does not hold. No process
 * of it is left behind. What the figures mean is in docs/internals/benchmarks.md.
 */

import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { availableParallelism, cpus, release, tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { BARS, judge } from "./bars.ts";
import { chartText } from "./chart.ts";
import { reportText, tableText } from "./report.ts";
import type { Results } from "./results.ts";
import { SCENARIOS } from "./scenarios/index.ts";
import type { Scenario } from "./scenarios/scenario.ts";
import { Stage } from "./stage.ts";
import type { Settings } from "./stage.ts";
import { findTools } from "./tools.ts";

const USAGE = `usage: npm run bench -- [option ...]
  --only NAME     this scenario; may be given several times (names: ${SCENARIOS.map(({ name }) => name).join(", ")})
  --rounds N      rounds, of which the median counts (default 5, with --quick 2)
  --seconds N     length of one measurement (default 5, with --quick 2)
  --quick         few and short rounds: shows that it works, and little more
  --check         exit with 1 when a bar does not hold
  --help          this text`;
const RESULTS = join(import.meta.dirname, "results");

interface Options {
  scenarios: readonly Scenario[];
  settings: Settings;
  check: boolean;
}

function readOptions(args: readonly string[]): Options | null {
  const { values } = parseArgs({
    args: [...args],
    options: {
      only: { type: "string", multiple: true },
      rounds: { type: "string" },
      seconds: { type: "string" },
      quick: { type: "boolean", default: false },
      check: { type: "boolean", default: false },
      help: { type: "boolean", short: "h", default: false },
    },
  });
  if (values.help) return null;
  const unknown = values.only?.find((name) => SCENARIOS.every((scenario) => scenario.name !== name));
  if (unknown !== undefined) throw new Error(`--only: no scenario is called "${unknown}"\n${USAGE}`);
  return {
    scenarios: SCENARIOS.filter(({ name }) => values.only === undefined || values.only.includes(name)),
    settings: {
      rounds: wholeNumber("--rounds", values.rounds ?? (values.quick ? "2" : "5")),
      secondsPerRound: wholeNumber("--seconds", values.seconds ?? (values.quick ? "2" : "5")),
    },
    check: values.check,
  };
}

function wholeNumber(option: string, given: string): number {
  const value = Number(given);
  if (!Number.isInteger(value) || value < 1 || value > 1000) {
    throw new Error(`${option}: "${given}" was given, a whole number from 1 to 1000 was expected`);
  }
  return value;
}

/** Runs the scenarios one after the other; one that fails does not end the others. */
async function runScenarios(stage: Stage, scenarios: readonly Scenario[], results: Results): Promise<void> {
  for (const scenario of scenarios) {
    console.log(`${scenario.name}: ${scenario.title}`);
    try {
      const rows = await scenario.run(stage);
      results.rows.push(...rows);
      console.log(`\n${tableText(rows)}\n`);
      const failed = rows.filter(({ failures }) => failures !== undefined && failures > 0);
      if (failed.length > 0)
        throw new Error(`requests failed: ${failed.map((row) => row.contender).join(", ")}`);
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      console.error(`  failed: ${message}`);
      results.failures.push({ scenario: scenario.name, message });
    } finally {
      await stage.closePeers();
    }
  }
}

function describeRun(nginx: string, { rounds, secondsPerRound }: Settings): Results {
  return {
    startedAt: new Date().toISOString(),
    rounds,
    secondsPerRound,
    machine: {
      cpu: cpus()[0]?.model ?? "unknown",
      cores: availableParallelism(),
      kernel: release(),
      node: process.versions.node,
      // nginx prints its version on the standard error
      nginx: execFileSync("/bin/sh", ["-c", '"$0" -v 2>&1', nginx], { encoding: "utf8" })
        .trim()
        .split("/")
        .join(" "),
    },
    rows: [],
    failures: [],
  };
}

async function main(args: readonly string[]): Promise<number> {
  const options = readOptions(args);
  if (options === null) {
    console.log(USAGE);
    return 0;
  }
  const tools = findTools();
  const folder = mkdtempSync(join(tmpdir(), "cardea-bench-"));
  const stage = new Stage(tools, folder, options.settings, (text) => console.log(text));
  for (const [signal, code] of [
    ["SIGINT", 130],
    ["SIGTERM", 143],
  ] as const) {
    process.once(signal, () => {
      void stage.processes.stopAll().finally(() => {
        rmSync(folder, { recursive: true, force: true });
        process.exit(code);
      });
    });
  }
  const results = describeRun(tools.nginx, options.settings);
  try {
    await stage.open();
    await runScenarios(stage, options.scenarios, results);
  } finally {
    await stage.processes.stopAll();
  }
  const verdicts = judge(results.rows, BARS);
  const titles = new Map(SCENARIOS.map(({ name, title }) => [name, title]));
  mkdirSync(RESULTS, { recursive: true });
  writeFileSync(join(RESULTS, "latest.json"), `${JSON.stringify(results, null, 2)}\n`);
  writeFileSync(join(RESULTS, "latest.md"), reportText(results, titles, verdicts));
  writeFileSync(join(RESULTS, "latest.svg"), chartText(results.rows));
  for (const { bar, measured, holds } of verdicts) {
    if (measured === undefined) continue;
    console.log(
      `${holds ? "holds" : "FAILS"}  ${bar.name}: ${measured.toFixed(2)} ${bar.unit}, limit ${bar.limit}`,
    );
  }
  if (results.failures.length > 0) {
    console.error(`${results.failures.length} scenario(s) failed; their logs are in ${folder}`);
    return 1;
  }
  rmSync(folder, { recursive: true, force: true });
  return options.check && verdicts.some(({ holds }) => !holds) ? 1 : 0;
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
}
