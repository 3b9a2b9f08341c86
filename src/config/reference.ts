/** The reference page of the static configuration, made from the schema, so that it cannot say anything else. */

import type { TSchema } from "@sinclair/typebox";
import { expected } from "./decode.ts";
import type { Rule } from "./decode.ts";

interface Row {
  key: string;
  expected: string;
  fallback: string;
  description: string;
}

const INTRODUCTION = [
  "# The static configuration",
  "",
  "<!-- Made by scripts/docs-config.ts from the schema in src/config/; change that instead. -->",
  "",
  "A node reads one file, in YAML or JSON, when it starts: `config.yaml` in its data folder, or the one that",
  "`--config` names. Without a file the defaults hold. The keys are those of APISIX's `config.yaml`; Cardea's own are",
  "under `cardea`. An unknown key or a wrong value is an error that names its line; `cardea check` shows them all.",
  "",
  "`${{NAME}}` and `${{NAME:=default}}` are replaced by environment variables, in keys and in values. A variable that",
  "is not set and has no default is an error. Text that reads as a number, `true` or `false` after that becomes one.",
  "",
  "Durations are seconds, or text with a unit (`500ms`, `10s`, `5m`, `1h`, `1d`). Sizes are bytes, or text with a",
  "unit (`16k`, `8m`, `1g`). A list replaces the default as a whole.",
  "",
  "The environment variable `CARDEA_ADMIN_KEY` replaces the keys of the Admin API that have the role admin.",
  "",
];

/** Markdown, with a line break at the end. */
export function configurationReference(schema: TSchema): string {
  const rows: Row[] = [];
  const withoutEffect: Row[] = [];
  collect(schema, "", rows, withoutEffect);
  return [
    ...INTRODUCTION,
    ...sections(rows),
    "## Known to APISIX, without effect yet",
    "",
    "These keys are accepted in any form; one warning at the start names those that a file has.",
    "",
    ...table(
      ["key", "what it is about"],
      withoutEffect.map((row) => [code(row.key), row.description]),
    ),
    "",
  ].join("\n");
}

function collect(rule: Rule, key: string, rows: Row[], withoutEffect: Row[]): void {
  if (rule.effect === "none") {
    withoutEffect.push({ key, expected: "", fallback: "", description: rule.description ?? "" });
    return;
  }
  if (rule.type === "object" && rule.properties !== undefined) {
    for (const [name, property] of Object.entries(rule.properties)) {
      collect(property, key === "" ? name : `${key}.${name}`, rows, withoutEffect);
    }
    return;
  }
  rows.push({ key, expected: expected(rule), fallback: fallback(rule), description: rule.description ?? "" });
  const entry = rule.items ?? rule.anyOf?.find((form) => form.type === "array")?.items;
  const entryRule = entry?.anyOf?.find((form) => form.type === "object") ?? entry;
  if (entryRule?.type === "object") collect(entryRule, `${key}[]`, rows, withoutEffect);
}

function sections(rows: readonly Row[]): string[] {
  const lines: string[] = [];
  for (const section of new Set(rows.map(sectionOf))) {
    const own = rows.filter((row) => sectionOf(row) === section);
    const cells = own.map((row) => [code(row.key), row.expected, row.fallback, row.description]);
    lines.push(`## ${section}`, "", ...table(["key", "expected", "default", "meaning"], cells), "");
  }
  return lines;
}

function sectionOf(row: Row): string {
  const parts = row.key.split(".");
  return parts[0] === "cardea" && parts.length > 2 ? `${parts[0]}.${parts[1].replace("[]", "")}` : parts[0];
}

function table(head: string[], rows: readonly string[][]): string[] {
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;
  return [line(head), line(head.map(() => "---")), ...rows.map(line)];
}

function fallback(rule: Rule): string {
  if (rule.default === undefined) return "";
  if (Array.isArray(rule.default) && rule.default.length === 0) return "none";
  return code(typeof rule.default === "string" ? rule.default || '""' : JSON.stringify(rule.default));
}

function code(text: string): string {
  return `\`${text}\``;
}
