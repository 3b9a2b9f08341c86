/**
 * The command line beside `start`, which the launcher runs itself. Prints to the given streams and returns the
 * exit code: 0 done, 1 the thing checked is wrong, 2 the command line is wrong.
 */

import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { parseArgs } from "node:util";
import { ConfigError, loadStaticConfig } from "../config/load.ts";
import { nearest } from "../config/nearest.ts";
import { COMMANDS, commandNamed, helpOf, overview } from "./commands.ts";
import type { Command } from "./commands.ts";

export interface Terminal {
  stdout: { write(text: string): unknown };
  stderr: { write(text: string): unknown };
  env: NodeJS.ProcessEnv;
}

const OPTIONS = {
  config: { type: "string", short: "c" },
  data: { type: "string", short: "d" },
  help: { type: "boolean", short: "h" },
} as const;

const DONE = 0;
const WRONG = 1;
const MISUSED = 2;

/** `argv` is without node and script: ["check", "-c", "config.yaml"]. */
export function main(argv: string[], terminal: Terminal = process): Promise<number> {
  return Promise.resolve(run(argv, terminal));
}

function run(argv: string[], terminal: Terminal): number {
  const [name = "", ...rest] = argv;
  if (name === "" || name === "-h" || name === "--help") {
    (name === "" ? terminal.stderr : terminal.stdout).write(overview());
    return name === "" ? MISUSED : DONE;
  }
  if (name === "-v" || name === "--version") return printVersion(terminal);
  const command = commandNamed(name);
  if (command === undefined) return misused(terminal, unknownCommand(name));
  if (command.name === "help") return showHelp(rest, terminal);
  return runCommand(command, rest, terminal);
}

function runCommand(command: Command, args: string[], terminal: Terminal): number {
  let values: { config?: string; data?: string; help?: boolean };
  try {
    ({ values } = parseArgs({ args, options: OPTIONS, strict: true, allowPositionals: false }));
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    return misused(terminal, `${reason}\nSee cardea ${command.name} --help.`);
  }
  if (values.help === true) {
    terminal.stdout.write(helpOf(command));
    return DONE;
  }
  switch (command.name) {
    case "version":
      return printVersion(terminal);
    case "check":
      return check(values, terminal);
    default:
      return misused(terminal, `cardea ${command.name} runs through bin/cardea only`);
  }
}

function check(values: { config?: string; data?: string }, terminal: Terminal): number {
  const dataFolder = resolve(values.data ?? terminal.env["CARDEA_DATA"] ?? "data");
  const given = values.config ?? terminal.env["CARDEA_CONFIG"];
  const file = given === undefined ? undefined : resolve(given);
  try {
    const { config, warnings } = loadStaticConfig({ file, dataFolder, env: terminal.env });
    for (const warning of warnings) terminal.stderr.write(`warning: ${warning}\n`);
    const ports = config.listeners.map(
      (listener) => `${listener.purpose} ${listener.address}:${listener.port}`,
    );
    terminal.stdout.write(`configuration is valid: ${config.workers} workers, ${ports.join(", ")}\n`);
    return DONE;
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    terminal.stderr.write(`${error.message}\n`);
    return WRONG;
  }
}

function showHelp(args: string[], terminal: Terminal): number {
  const command = args[0] === undefined ? undefined : commandNamed(args[0]);
  if (args[0] !== undefined && command === undefined) return misused(terminal, unknownCommand(args[0]));
  terminal.stdout.write(command === undefined ? overview() : helpOf(command));
  return DONE;
}

function printVersion(terminal: Terminal): number {
  const manifest = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8")) as {
    version: string;
  };
  terminal.stdout.write(`cardea ${manifest.version}\n`);
  return DONE;
}

function unknownCommand(name: string): string {
  const names = COMMANDS.map((command) => command.name);
  const similar = nearest(name, names);
  const hint = similar === null ? `expected one of ${names.join(", ")}` : `did you mean ${similar}?`;
  return `unknown command ${JSON.stringify(name)}; ${hint}`;
}

function misused(terminal: Terminal, message: string): number {
  terminal.stderr.write(`${message}\n`);
  return MISUSED;
}
