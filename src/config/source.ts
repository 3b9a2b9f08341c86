/**
 * The text of a static configuration file as plain data, with the place of every key for error messages.
 *
 * Reads YAML 1.2 (of which JSON is a part) and the booleans that older YAML knows (yes, no, on, off), since
 * files written for APISIX use them. Refuses what can only be a mistake or an attack: duplicate keys,
 * `__proto__`, keys that are not text, alias bombs, files beyond the size limit. Knows nothing of the schema.
 */

import type { Document, Node, Pair } from "yaml";
import { yaml } from "../lib/yaml.ts";
import { ConfigError } from "./config-error.ts";
import type { ConfigProblem } from "./config-error.ts";
import { substitute, typedText } from "./environment.ts";

export interface SourceRules {
  /** The parser's memory is a multiple of it. */
  maxBytes: number;
  /** Of nodes that aliases may multiply to. */
  maxAliases: number;
  /** Whether a variable within quotes stays text; else it becomes a number or boolean when it reads as one. */
  quotesKeepText: boolean;
}

/** Far beyond any real static configuration. */
const STATIC_RULES: SourceRules = { maxBytes: 1024 * 1024, maxAliases: 100, quotesKeepText: false };

/** The parser quotes what it did not expect, which may be a secret. */
const QUOTED_SOURCE = /(?<= token in YAML stream|Not a YAML token): .*$/s;

export type Path = readonly (string | number)[];

export interface ConfigSource {
  /** What the file says; nulls included. */
  data: Record<string, unknown>;
  /** Where the value (or, with `ofKey`, its key) at `path` stands; the nearest parent when it stands nowhere. */
  place(path: Path, ofKey?: boolean): { line: number; column: number };
  /** The text behind a value that an environment variable gave, before it became a number or boolean. */
  substitutedText(path: Path): string | undefined;
}

/** Throws `ConfigError` with every problem of the syntax and of the variables. */
export function readSource(
  name: string,
  text: string,
  env: NodeJS.ProcessEnv,
  rules: SourceRules = STATIC_RULES,
): ConfigSource {
  if (Buffer.byteLength(text) > rules.maxBytes) {
    const message = `the file has more than ${rules.maxBytes} bytes, which no configuration needs`;
    throw new ConfigError(name, [{ line: null, column: null, key: "", message }]);
  }
  const lines = new (yaml().LineCounter)();
  let document: Document;
  try {
    document = yaml().parseDocument(text, {
      lineCounter: lines,
      prettyErrors: false,
      merge: true,
      logLevel: "silent",
    });
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new ConfigError(name, [{ line: 1, column: 1, key: "", message: "the file is nested too deeply" }]);
  }

  const at = (offset: number): { line: number; column: number } => {
    const position = lines.linePos(offset);
    return { line: Math.max(1, position.line), column: Math.max(1, position.col) };
  };
  const syntaxProblems = document.errors.map((error): ConfigProblem => {
    const reason = error.message.replace(QUOTED_SOURCE, "");
    return { ...at(error.pos[0]), key: "", message: `not valid YAML or JSON: ${reason}` };
  });
  if (syntaxProblems.length > 0) throw new ConfigError(name, syntaxProblems);

  const substituted = new Map<unknown, string>();
  const problems = prepare(document, env, rules.quotesKeepText, substituted, at);
  if (problems.length > 0) throw new ConfigError(name, problems);

  return {
    data: toData(name, document, rules.maxAliases),
    place: (path, ofKey) => at(offsetOf(document, path, ofKey === true)),
    substitutedText: (path) => substituted.get(resolve(document, document.getIn(path, true))),
  };
}

/** Substitutes variables and refuses hostile keys, in the tree itself so that places stay right. */
function prepare(
  document: Document,
  env: NodeJS.ProcessEnv,
  quotesKeepText: boolean,
  substituted: Map<unknown, string>,
  at: (offset: number) => { line: number; column: number },
): ConfigProblem[] {
  const problems: ConfigProblem[] = [];
  yaml().visit(document, {
    Pair(_, pair) {
      const offset = rangeStart(pair.key);
      if (!yaml().isScalar(pair.key) || typeof pair.key.value === "object") {
        problems.push({ ...at(offset), key: "", message: "a key must be plain text" });
      } else if (pair.key.value === "__proto__") {
        problems.push({ ...at(offset), key: "__proto__", message: "this key is never allowed" });
      }
    },
    Scalar(position, node) {
      if (typeof node.value !== "string") return;
      if (node.value.includes("${{")) {
        const { text, changed, errors } = substitute(node.value, env);
        for (const message of errors) problems.push({ ...at(rangeStart(node)), key: "", message });
        if (!changed) return;
        const staysText = position === "key" || (quotesKeepText && node.type !== "PLAIN");
        node.value = staysText ? text : typedText(text);
        if (position !== "key") substituted.set(node, text);
        else if (text === "__proto__") {
          problems.push({ ...at(rangeStart(node)), key: "__proto__", message: "this key is never allowed" });
        }
      } else if (position !== "key" && node.type === "PLAIN") {
        // YAML 1.1, which APISIX's reader follows.
        if (/^(?:yes|on)$/i.test(node.value)) node.value = true;
        else if (/^(?:no|off)$/i.test(node.value)) node.value = false;
      }
    },
  });
  problems.push(...duplicatesAfterSubstitution(document, at));
  return problems;
}

/** The parser compared the keys as they were written. */
function duplicatesAfterSubstitution(
  document: Document,
  at: (offset: number) => { line: number; column: number },
): ConfigProblem[] {
  const problems: ConfigProblem[] = [];
  yaml().visit(document, {
    Map(_, map) {
      const seen = new Set<string>();
      for (const pair of map.items) {
        const key = keyText(pair);
        if (key !== "<<" && seen.has(key)) {
          problems.push({ ...at(rangeStart(pair.key)), key, message: "the key is given twice" });
        }
        seen.add(key);
      }
    },
  });
  return problems;
}

function toData(name: string, document: Document, maxAliasCount: number): Record<string, unknown> {
  let data: unknown;
  try {
    data = document.toJS({ maxAliasCount });
  } catch (error) {
    const message = `the file cannot be used: ${error instanceof Error ? error.message : String(error)}`;
    throw new ConfigError(name, [{ line: 1, column: 1, key: "", message }]);
  }
  if (data === null || data === undefined) return {};
  if (typeof data === "object" && !Array.isArray(data)) return data as Record<string, unknown>;
  const message = `given ${Array.isArray(data) ? "a list" : JSON.stringify(data)}, expected a map of sections`;
  throw new ConfigError(name, [{ line: 1, column: 1, key: "", message }]);
}

function offsetOf(document: Document, path: Path, ofKey: boolean): number {
  let node: unknown = document.contents;
  let offset = rangeStart(node);
  for (let i = 0; i < path.length; i++) {
    node = resolve(document, node);
    const step = path[i];
    if (yaml().isMap(node)) {
      const pair = node.items.find((item) => keyText(item) === String(step));
      if (pair === undefined) return offset;
      const last = i === path.length - 1;
      node = pair.value;
      offset = (last && ofKey) || node === null ? rangeStart(pair.key) : rangeStart(node);
    } else if (yaml().isSeq(node) && typeof step === "number") {
      node = node.items[step];
      offset = rangeStart(node);
    } else {
      return offset;
    }
  }
  return offset;
}

function resolve(document: Document, node: unknown): unknown {
  return yaml().isAlias(node) ? node.resolve(document) : node;
}

function keyText(pair: Pair): string {
  return yaml().isScalar(pair.key) ? String(pair.key.value) : "";
}

function rangeStart(node: unknown): number {
  if (yaml().isPair(node)) return rangeStart(node.key);
  return (node as Node | null)?.range?.[0] ?? 0;
}
