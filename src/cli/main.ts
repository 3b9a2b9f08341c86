/**
 * The command line beside `start`, which the launcher runs itself. Prints to the given streams and returns the
 * exit code: 0 done, 1 the thing checked is wrong, 2 the command line is wrong.
 */

import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { parseArgs, type ParseArgsConfig } from "node:util";
import { ConfigError, loadStaticConfig } from "../config/load.ts";
import type { StaticConfig } from "../config/static-config.ts";
import { nearest } from "../config/nearest.ts";
import { apply, diff } from "./apply.ts";
import { COMMANDS, commandNamed, helpOf, overview } from "./commands.ts";
import type { Command } from "./commands.ts";
import { Connection } from "./connection.ts";
import { explain } from "./explain.ts";
import { exportResources } from "./export.ts";
import { importResources } from "./import/import.ts";
import { CommandError, DONE, MISUSED, type Terminal, WRONG } from "./terminal.ts";

export type { Terminal } from "./terminal.ts";

const COMMON = {
  config: { type: "string", short: "c" },
  data: { type: "string", short: "d" },
  help: { type: "boolean", short: "h" },
} as const;
const NODE = { ...COMMON, admin: { type: "string" }, "key-file": { type: "string" } } as const;
const WRITING = {
  ...NODE,
  prune: { type: "boolean" },
  select: { type: "string", multiple: true },
  json: { type: "boolean" },
} as const;
const OUTPUT = { output: { type: "string", short: "o" }, format: { type: "string" } } as const;

/** Options of each command, as `commands.ts` tells them. */
const OPTIONS = {
  start: COMMON,
  check: COMMON,
  version: { help: COMMON.help },
  diff: WRITING,
  apply: { ...WRITING, "dry-run": { type: "boolean" } },
  export: { ...NODE, ...OUTPUT },
  import: { help: COMMON.help, ...OUTPUT, from: { type: "string" }, strict: { type: "boolean" } },
  explain: {
    ...COMMON,
    control: { type: "string" },
    method: { type: "string", short: "X" },
    header: { type: "string", short: "H", multiple: true },
    body: { type: "string" },
    client: { type: "string" },
    consumer: { type: "string" },
    route: { type: "string" },
    json: { type: "boolean" },
  },
} as const;

/** Of all commands together; each knows which it has. */
interface Values {
  config?: string;
  data?: string;
  help?: boolean;
  admin?: string;
  control?: string;
  "key-file"?: string;
  prune?: boolean;
  select?: string[];
  json?: boolean;
  "dry-run"?: boolean;
  output?: string;
  format?: string;
  from?: string;
  strict?: boolean;
  method?: string;
  header?: string[];
  body?: string;
  client?: string;
  consumer?: string;
  route?: string;
}

/** `argv` is without node and script: ["check", "-c", "config.yaml"]. */
export function main(argv: string[], terminal: Terminal = process): Promise<number> {
  return run(argv, terminal);
}

async function run(argv: string[], terminal: Terminal): Promise<number> {
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

async function runCommand(command: Command, args: string[], terminal: Terminal): Promise<number> {
  let values: Values;
  let positionals: string[];
  try {
    const options: ParseArgsConfig["options"] = OPTIONS[command.name as keyof typeof OPTIONS];
    const allowPositionals = command.argument !== undefined;
    const parsed = parseArgs({ args, options, strict: true, allowPositionals });
    values = parsed.values;
    positionals = parsed.positionals;
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    return misused(terminal, `${reason}\nSee cardea ${command.name} --help.`);
  }
  if (values.help === true) {
    terminal.stdout.write(helpOf(command));
    return DONE;
  }
  if (command.argument !== undefined && positionals.length !== 1) {
    const message = `given ${positionals.length} arguments, expected one ${command.argument}`;
    return misused(terminal, `${message}\nSee cardea ${command.name} --help.`);
  }
  try {
    return await perform(command.name, positionals[0], values, terminal);
  } catch (error) {
    if (!(error instanceof CommandError || error instanceof ConfigError)) throw error;
    terminal.stderr.write(`${error.message}\n`);
    return error instanceof CommandError ? error.code : WRONG;
  }
}

async function perform(name: string, argument: string, values: Values, terminal: Terminal): Promise<number> {
  const connection = new Connection(values, terminal.env);
  const { prune = false, select = [], json = false, output = null } = values;
  const isDryRun = values["dry-run"] === true;
  switch (name) {
    case "version":
      return printVersion(terminal);
    case "check":
      return check(values, terminal);
    case "diff":
      return await diff({ file: argument, prune, select, isDryRun, json }, connection, terminal);
    case "apply":
      return await apply({ file: argument, prune, select, isDryRun, json }, connection, terminal);
    case "export":
      return await exportResources({ output, format: formatOf(values) }, connection, terminal);
    case "import": {
      const { from = null, strict = false } = values;
      const format = formatOf(values);
      return importResources({ file: argument, from, output, format, isStrict: strict }, terminal);
    }
    case "explain": {
      const { method, header = [], body, client, consumer, route } = values;
      const request = { uri: argument, method, headers: header, body, client, consumer, route, json };
      return await explain(request, connection, terminal);
    }
    default:
      return misused(terminal, `cardea ${name} runs through bin/cardea only`);
  }
}

function formatOf({ format = "yaml" }: Values): "yaml" | "json" {
  if (format === "yaml" || format === "json") return format;
  throw new CommandError(`--format: given ${JSON.stringify(format)}, expected yaml or json`, MISUSED);
}

function check(values: { config?: string; data?: string }, terminal: Terminal): number {
  const dataFolder = resolve(values.data ?? terminal.env["CARDEA_DATA"] ?? "data");
  const given = values.config ?? terminal.env["CARDEA_CONFIG"];
  const file = given === undefined ? undefined : resolve(given);
  try {
    const { config, warnings } = loadStaticConfig({ file, dataFolder, env: terminal.env });
    for (const warning of warnings) terminal.stderr.write(`warning: ${warning}\n`);
    terminal.stdout.write(`configuration is valid: ${extentOf(config)}\n`);
    for (const each of config.tenants) terminal.stdout.write(`tenant ${each.tenant}: ${extentOf(each)}\n`);
    return DONE;
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    terminal.stderr.write(`${error.message}\n`);
    return WRONG;
  }
}

function extentOf({ workers, listeners }: StaticConfig): string {
  const ports = listeners.map(({ purpose, address, port }) => `${purpose} ${address}:${port}`);
  return `${workers} workers, ${ports.join(", ")}`;
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
