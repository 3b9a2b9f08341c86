/**
 * The examples of the documentation as a program runs them.
 *
 * Each ```sh block of a page is run, as one shell session per page, against a node of the test: the default ports
 * are replaced by its own, `$KEY` is its admin key, `data/` is its data folder, and `cardea` is the command of this tree. A command is expected to succeed,
 * and a write to the Admin API to be accepted. What follows two spaces and `# ` (or stands below as `# → `) is the
 * expected output; after a colon it may say why. Blocks that cannot be run are marked ```console. A page that starts a
 * server itself, with Node.js (`.listen(8000)`), gets a free port for it; what runs in the background ends with the page.
 */

import { spawn } from "node:child_process";
import { once } from "node:events";
import { globSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { freePort } from "../ports/free-port.ts";

export interface Example {
  /** Of the page, from 1. */
  line: number;
  text: string;
  /** Null: nothing but success. */
  expected: string | null;
}

export interface Outcome {
  example: Example;
  code: number;
  output: string;
  /** Null: as it should be. */
  fault: string | null;
}

export interface Surroundings {
  /** Runs in here; holds `data`. */
  folder: string;
  /** Default port → port of this node. */
  ports: ReadonlyMap<string, number>;
  key: string;
}

/** Of the command `cardea`. */
const BIN = fileURLToPath(new URL("../../bin", import.meta.url));
const PAGE_TIMEOUT_MS = 240_000;
const LISTENS = /\.listen\((\d+)/g;
/** Begins the lines by which a session tells where it is. */
const MARK = "\u0001";

/** README and everything in docs/, relative to the root. */
export function documentationPages(root: string): string[] {
  return ["README.md", ...globSync("docs/**/*.md", { cwd: root }).sort()];
}

/** The commands of all ```sh blocks, in order. */
export function examplesOf(page: string): Example[] {
  const examples: Example[] = [];
  let isInside = false;
  let pending = "";
  let from = 0;
  const lines = page.split("\n");
  for (const [i, line] of lines.entries()) {
    if (line.startsWith("```")) {
      if (isInside && pending !== "") throw new Error(`line ${from}: the command does not end`);
      isInside = line === "```sh";
      continue;
    }
    if (!isInside || (pending === "" && line.trim() === "")) continue;
    if (pending === "" && line.startsWith("#")) {
      const last = examples.at(-1);
      const told = /^# → (.+)$/.exec(line)?.[1];
      if (told !== undefined && last !== undefined) {
        last.expected = last.expected === null ? told : `${last.expected} ${told}`;
      }
      continue;
    }
    if (pending === "") from = i + 1;
    pending += `${line}\n`;
    if (isOpen(pending)) continue;
    const expected = / {2}# (?:→ )?(.+)\n$/.exec(pending)?.[1] ?? null;
    examples.push({ line: from, text: pending, expected });
    pending = "";
  }
  return examples;
}

/** Whether a quote, a here-document, a loop or a line that goes on (`\`) is open. */
function isOpen(text: string): boolean {
  const heredoc = /<<-?\s*['"]?(\w+)['"]?/.exec(text);
  if (heredoc !== null && !text.includes(`\n${heredoc[1]}\n`)) return true;
  if (heredoc !== null) return false;
  if (text.endsWith("\\\n")) return true;
  if (/^(for|while) /.test(text) && !/\bdone\b/.test(text)) return true;
  let quote = "";
  for (let i = 0; i < text.length; i++) {
    const character = text[i];
    if (character === "\\" && quote !== "'") i++;
    else if (quote === "" && character === "#" && /\s/.test(text[i - 1] ?? " ")) return false;
    else if (quote === "" && (character === "'" || character === '"')) quote = character;
    else if (character === quote) quote = "";
  }
  return quote !== "";
}

/** Runs the examples of one page and says what became of each. */
export async function runExamples(
  examples: readonly Example[],
  surroundings: Surroundings,
): Promise<Outcome[]> {
  const { folder, key } = surroundings;
  const ports = await withOwnServers(examples, surroundings.ports);
  const replaced = (text: string): string =>
    text
      .replace(/(127\.0\.0\.1|localhost):(\d+)\b/g, (place, host: string, port: string) => {
        const own = ports.get(port);
        return own === undefined ? place : `${host}:${own}`;
      })
      .replace(/("(?:server_)?port": )(\d+)\b/g, (place, field: string, port: string) => {
        const own = ports.get(port);
        return own === undefined ? place : `${field}${own}`;
      })
      .replace(LISTENS, (_, port: string) => `.listen(${ports.get(port)}`);
  const child = spawn("bash", ["-s"], {
    cwd: folder,
    env: { PATH: `${BIN}:${process.env["PATH"]}`, HOME: folder, KEY: key, LC_ALL: "C.UTF-8" },
    timeout: PAGE_TIMEOUT_MS,
    killSignal: "SIGKILL",
  });
  let output = "";
  let errors = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => (output += text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => (errors += text));
  child.stdin.on("error", () => {
    // The shell ended early: the examples that did not run say so.
  });
  child.stdin.end(
    session(
      examples.map((example) => replaced(withStatus(example))),
      ports.get("9180")!,
    ),
  );
  await once(child, "close");
  return examples.map((example, i) => {
    const found = new RegExp(`${MARK}begin ${i}\\n([^]*?)${MARK}end ${i} (\\d+)\\n`).exec(output);
    if (found === null) return { example, code: -1, output: "", fault: `it did not end: ${errors}` };
    const outcome = { example, code: Number(found[2]), output: found[1].trim() };
    const expected = example.expected === null ? null : replaced(example.expected);
    return { ...outcome, fault: faultOf(example, outcome, expected) ?? null };
  });
}

async function withOwnServers(
  examples: readonly Example[],
  ports: ReadonlyMap<string, number>,
): Promise<ReadonlyMap<string, number>> {
  const all = new Map(ports);
  for (const { text } of examples) {
    for (const [, port] of text.matchAll(LISTENS)) all.set(port, await freePort());
  }
  return all;
}

/** Where a status is expected and curl prints the answer, it prints its status too, on the last line. */
function withStatus({ text, expected }: Example): string {
  return tellsStatus(text, expected) ? text.replace(/\bcurl /, "curl -w '\\n%{http_code}' ") : text;
}

function tellsStatus(text: string, expected: string | null): boolean {
  return (
    expected !== null && /^\d{3}\b/.test(expected) && text.startsWith("curl ") && !/ -w | \| | > /.test(text)
  );
}

/** After a command that spoke to the Admin API, one more write waits until every worker has all of them. */
function session(commands: readonly string[], adminPort: number): string {
  const barrier =
    `curl -s -o /dev/null -X PUT -H "X-API-KEY: $KEY" -d '{"plugins":{}}' ` +
    `'http://127.0.0.1:${adminPort}/apisix/admin/consumer_groups/documentation?wait=live' </dev/null\n`;
  const runs = commands
    .map((text, i) => {
      const run = `printf '${MARK}begin ${i}\\n'\n${text}__code=$?\nprintf '${MARK}end ${i} %s\\n' "$__code"\n`;
      return run + (text.includes(`:${adminPort}`) ? barrier : "");
    })
    .join("");
  return `${runs}kill $(jobs -p) 2>/dev/null\n`;
}

function faultOf(
  example: Example,
  { code, output }: { code: number; output: string },
  expected: string | null,
): string | null {
  if (code !== 0) return `exit code ${code}`;
  if (expected !== null) {
    const shown = tellsStatus(example.text, expected) ? output.slice(output.lastIndexOf("\n") + 1) : output;
    const said = shown.replaceAll(/\s+/g, " ");
    return said === expected || expected.startsWith(`${said}:`)
      ? null
      : `expected ${JSON.stringify(expected)}`;
  }
  return output.includes('"error_msg"') ? "refused" : null;
}

export function readPage(root: string, page: string): Example[] {
  return examplesOf(readFileSync(`${root}/${page}`, "utf8"));
}
