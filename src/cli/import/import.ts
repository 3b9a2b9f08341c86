/** `cardea import`: a configuration of APISIX or Kong as a file for `cardea apply`. Speaks to no node. */

import { readFileSync, writeFileSync } from "node:fs";
import { parseAllDocuments } from "yaml";
import { isObject } from "../../model/resource-type.ts";
import { fileText, namesVariables, type ResourceLists } from "../resource-file.ts";
import { CommandError, DONE, MISUSED, type Terminal, WRONG } from "../terminal.ts";
import { importApisix } from "./apisix.ts";
import { importKong } from "./kong.ts";
import { ImportReport } from "./report.ts";

export interface ImportOptions {
  file: string;
  /** Null: as the content says. */
  from: string | null;
  /** Null: the standard output. */
  output: string | null;
  format: "yaml" | "json";
  /** Exit with 1 when something is left out. */
  isStrict: boolean;
}

const SOURCES: Readonly<Record<string, (document: unknown, report: ImportReport) => ResourceLists | null>> = {
  apisix: importApisix,
  kong: importKong,
};
const LARGEST_BYTES = 64 * 1024 * 1024;
const MAX_ALIASES = 10_000;

export function importResources(options: ImportOptions, terminal: Terminal): number {
  const document = readSource(options.file);
  const report = new ImportReport();
  const source = options.from ?? (isKong(document) ? "kong" : "apisix");
  const read = Object.hasOwn(SOURCES, source) ? SOURCES[source] : undefined;
  if (read === undefined) {
    throw new CommandError(`--from: given ${source}, expected ${Object.keys(SOURCES).join(" or ")}`, MISUSED);
  }
  const lists = read(document, report);
  if (lists === null) throw new CommandError(`${options.file}: nothing of ${source} is in it; see --from`);
  if (namesVariables(lists)) {
    report.differs(options.file, "text with ${{ is read as a variable of the environment");
  }
  const text = fileText(lists, options.format);
  if (options.output === null) terminal.stdout.write(text);
  else writeFileSync(options.output, text, { mode: 0o600 });
  terminal.stderr.write(report.text());
  const counts = Object.entries(lists).map(([name, list]) => `${list.length} ${name}`);
  terminal.stderr.write(`imported: ${counts.length === 0 ? "nothing" : counts.join(", ")}\n`);
  return options.isStrict && report.remarks.some(({ isLost }) => isLost) ? WRONG : DONE;
}

function isKong(document: unknown): boolean {
  return isObject(document) && document["_format_version"] !== undefined;
}

/** Several documents (answers of an API, one after the other) become a list. */
function readSource(file: string): unknown {
  let text: string;
  try {
    text = readFileSync(file === "-" ? 0 : file, "utf8").replace(/^\uFEFF/, "");
  } catch (error) {
    throw new CommandError(
      `${file} cannot be read: ${error instanceof Error ? error.message : String(error)}`,
    );
  }
  if (text.length > LARGEST_BYTES) throw new CommandError(`${file} has more than ${LARGEST_BYTES} bytes`);
  const json = asJson(text) ?? asJsonLines(text);
  if (json !== undefined) return json;
  const documents = parseAllDocuments(text, { merge: true, logLevel: "silent" });
  if (!Array.isArray(documents)) return null;
  const [fault] = documents.flatMap((document) => document.errors);
  if (fault !== undefined) {
    // Beyond its first line the message quotes the file.
    throw new CommandError(`${file} is neither JSON nor YAML: ${fault.message.split("\n", 1)[0]}`);
  }
  const values = documents.map((document) => document.toJS({ maxAliasCount: MAX_ALIASES }) as unknown);
  return values.length === 1 ? values[0] : values;
}

function asJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

/** One answer of an API in each line. */
function asJsonLines(text: string): unknown[] | undefined {
  const values = text
    .split("\n")
    .filter((line) => line.trim() !== "")
    .map(asJson);
  return values.length > 0 && values.every((value) => value !== undefined) ? values : undefined;
}
