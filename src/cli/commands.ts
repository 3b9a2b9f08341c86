/** The commands of `cardea`: their names and their help. The texts are the contract; `main.ts` runs them. */

export interface Command {
  name: string;
  summary: string;
  /** Options and their texts, in order of appearance. */
  options: readonly (readonly [syntax: string, text: string])[];
  /** More lines of help. */
  details?: readonly string[];
}

const config = [
  "-c, --config FILE",
  "the static configuration; default: $CARDEA_CONFIG, else config.yaml in the data folder",
] as const;
const data = ["-d, --data FOLDER", "what the node keeps; default: $CARDEA_DATA, else ./data"] as const;
const help = ["-h, --help", "show this help"] as const;

export const COMMANDS: readonly Command[] = [
  {
    name: "start",
    summary: "run a node in the foreground",
    options: [config, data, help],
    details: [
      "Signals:",
      "  SIGTERM, SIGINT   drain, then exit 0; a second one exits at once",
      "  SIGHUP            reopen the log files",
      "  SIGUSR2           replace the node by one from the files as they are now, without a lost request",
    ],
  },
  {
    name: "check",
    summary: "check a static configuration without starting anything",
    options: [config, data, help],
    details: ["Prints each mistake with its line and exits 1; warnings alone exit 0."],
  },
  { name: "version", summary: "print the version", options: [help] },
  { name: "help", summary: "show this help, or that of a command", options: [] },
];

export function commandNamed(name: string): Command | undefined {
  return COMMANDS.find((command) => command.name === name);
}

export function overview(): string {
  const width = Math.max(...COMMANDS.map((command) => command.name.length));
  return [
    "Usage: cardea <command> [options]",
    "",
    "Commands:",
    ...COMMANDS.map((command) => `  ${command.name.padEnd(width)}  ${command.summary}`),
    "",
    "cardea <command> --help shows the options of a command.",
    "",
  ].join("\n");
}

export function helpOf(command: Command): string {
  const syntax = command.name === "help" ? "cardea help [command]" : `cardea ${command.name} [options]`;
  const lines = [`Usage: ${syntax}`, "", `${command.summary[0].toUpperCase()}${command.summary.slice(1)}.`];
  if (command.options.length > 0) {
    const width = Math.max(...command.options.map(([option]) => option.length));
    lines.push(
      "",
      "Options:",
      ...command.options.map(([option, text]) => `  ${option.padEnd(width)}  ${text}`),
    );
  }
  if (command.details !== undefined) lines.push("", ...command.details);
  return `${lines.join("\n")}\n`;
}
