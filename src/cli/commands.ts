/** The commands of `cardea`: their names and their help. The texts are the contract; `main.ts` runs them. */

export interface Command {
  name: string;
  summary: string;
  /** What stands behind the options: "FILE". */
  argument?: string;
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
const admin = [
  "--admin URL",
  "Admin API of the node; default: $CARDEA_ADMIN, else that of the static configuration",
] as const;
const keyFile = [
  "--key-file FILE",
  "holds the admin key; default: $CARDEA_ADMIN_KEY, else that of the static configuration or data folder",
] as const;
const node = [admin, keyFile, config, data] as const;
const prune = [
  "--prune",
  "delete what the file does not name, of the types that it has lists of; without it nothing is deleted",
] as const;
const select = [
  "--select LABEL=VALUE",
  "with --prune: delete only what carries this label, of any type; may be repeated",
] as const;
const json = ["--json", "print the answer of the node as JSON"] as const;
const output = [
  "-o, --output FILE",
  "write there, readable for its owner only; default: the standard output",
] as const;
const format = ["--format yaml|json", "of the output; default: yaml"] as const;

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
  {
    name: "diff",
    argument: "FILE",
    summary: "show how the resources of a node differ from those of a file",
    options: [prune, select, json, ...node, help],
    details: [
      "FILE is written as apisix.yaml or apisix.json, each resource with an id; - is the standard input.",
      "Exits 0 without differences, 1 with some, 2 when it cannot tell.",
    ],
  },
  {
    name: "apply",
    argument: "FILE",
    summary: "make the resources of a node those of a file, all of them or none",
    options: [
      ["--dry-run", "show what would change, and what that does to traffic; change nothing"],
      prune,
      select,
      json,
      ...node,
      help,
    ],
    details: ["Ends when every worker of the node serves what was applied."],
  },
  {
    name: "export",
    summary: "write the resources of a node as a file for apply",
    options: [output, format, ...node, help],
  },
  {
    name: "import",
    argument: "FILE",
    summary: "turn a configuration of APISIX or Kong into a file for apply",
    options: [
      ["--from apisix|kong", "what FILE is; default: as its content says"],
      output,
      format,
      ["--strict", "exit 1 when something is left out"],
      help,
    ],
    details: [
      "FILE is one of: apisix.yaml, answers of APISIX's Admin API, what `etcdctl get --prefix /apisix -w json`",
      "prints, or Kong's declarative file. What is left out or differs is told on the error stream.",
    ],
  },
  {
    name: "explain",
    argument: "URL",
    summary: "tell what a node would do with a request, without sending it",
    options: [
      ["-X, --method METHOD", "default: GET, with --body POST"],
      ["-H, --header LINE", '"Name: value"; may be repeated'],
      ["--body TEXT", "body of the request"],
      ["--client ADDRESS", "address of the client; default: 127.0.0.1"],
      ["--consumer NAME", "the consumer that authentication would find"],
      ["--route ID", "say of this route why it is not taken"],
      json,
      [
        "--control URL",
        "Control API of the node; default: $CARDEA_CONTROL, else that of the static configuration",
      ],
      config,
      data,
      help,
    ],
    details: ["URL is a whole one, or a path with the host as a header."],
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
  const argument = command.argument === undefined ? "" : ` ${command.argument}`;
  const syntax =
    command.name === "help" ? "cardea help [command]" : `cardea ${command.name} [options]${argument}`;
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
