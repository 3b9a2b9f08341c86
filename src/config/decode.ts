/**
 * Checks data from a configuration file against its schema and turns it into what code uses: durations to
 * milliseconds, sizes to bytes, defaults filled in. Collects every problem, not the first one only.
 *
 * An own walk instead of a general validator, because each message must name the place, the given value and
 * what was expected in the words of the schema, also below a choice of several forms.
 */

import type { TSchema } from "@sinclair/typebox";
import { isIP } from "node:net";
import type { ConfigProblem } from "./config-error.ts";
import { durationText, isCidrText, parseDuration, parseSize, sizeText } from "./kinds.ts";
import { nearest } from "./nearest.ts";
import type { ConfigSource, Path } from "./source.ts";

/** The part of JSON Schema (and of our own annotations) that the configuration's schema is written in. */
export interface Rule extends TSchema {
  kind?: "duration" | "size" | "address" | "cidr" | "name-server";
  type?: "object" | "array" | "string" | "integer" | "number" | "boolean";
  properties?: Record<string, Rule>;
  additionalProperties?: boolean | Rule;
  required?: string[];
  items?: Rule;
  anyOf?: Rule[];
  enum?: readonly unknown[];
  pattern?: string;
  minimum?: number;
  maximum?: number;
  minItems?: number;
  maxItems?: number;
  minLength?: number;
  maxLength?: number;
  expects?: string;
  effect?: "none";
  /** Never shown in a message. */
  secret?: boolean;
  default?: unknown;
}

export interface Decoded {
  value: unknown;
  problems: ConfigProblem[];
  /** Dotted keys that are understood and have no effect. */
  withoutEffect: string[];
}

const REFUSED = Symbol("refused");

export function decode(rule: TSchema, source: ConfigSource, fillDefaults: boolean): Decoded {
  const walk = new Walk(source, fillDefaults);
  const value = walk.decode(rule, source.data, []);
  return { value, problems: walk.problems, withoutEffect: walk.withoutEffect };
}

class Walk {
  readonly problems: ConfigProblem[] = [];
  readonly withoutEffect: string[] = [];
  readonly #source: ConfigSource;
  readonly #fillDefaults: boolean;

  constructor(source: ConfigSource, fillDefaults: boolean) {
    this.#source = source;
    this.#fillDefaults = fillDefaults;
  }

  decode(rule: Rule, value: unknown, path: Path): unknown {
    if (rule.effect === "none") {
      this.withoutEffect.push(keyName(path));
      return undefined;
    }
    if (rule.anyOf !== undefined) return this.#decodeChoice(rule, value, path);
    if (rule.kind !== undefined) return this.#decodeKind(rule, value, path);
    switch (rule.type) {
      case "object":
        return isMap(value) ? this.#decodeMap(rule, value, path) : this.#refuse(rule, value, path);
      case "array":
        return Array.isArray(value) ? this.#decodeList(rule, value, path) : this.#refuse(rule, value, path);
      case "string":
        return this.#decodeText(rule, value, path);
      case "integer":
      case "number":
        return this.#decodeNumber(rule, value, path);
      case "boolean":
        if (typeof value !== "boolean" || rule.enum?.includes(value) === false)
          return this.#refuse(rule, value, path);
        return value;
      default:
        return value;
    }
  }

  #decodeMap(rule: Rule, map: Record<string, unknown>, path: Path): Record<string, unknown> {
    const decoded: Record<string, unknown> = {};
    const properties = rule.properties ?? {};
    for (const [key, value] of Object.entries(map)) {
      const property = Object.hasOwn(properties, key) ? properties[key] : undefined;
      // A key with nothing behind it is as good as absent, as it is for APISIX.
      if (value === null && property !== undefined) continue;
      const below = [...path, key];
      if (property !== undefined) decoded[key] = this.decode(property, value, below);
      else if (typeof rule.additionalProperties === "object") {
        decoded[key] = this.decode(rule.additionalProperties, value, below);
      } else if (rule.additionalProperties === false) this.#refuseKey(key, Object.keys(properties), below);
      else decoded[key] = value;
    }
    for (const key of rule.required ?? []) {
      const absent = !Object.hasOwn(map, key) || map[key] === null;
      if (absent && properties[key]?.default === undefined) {
        this.#add(path, false, `the key ${key} is missing, expected ${expected(properties[key] ?? {})}`);
      }
    }
    if (this.#fillDefaults) this.#fill(properties, decoded, path);
    return decoded;
  }

  #fill(properties: Record<string, Rule>, decoded: Record<string, unknown>, path: Path): void {
    for (const [key, rule] of Object.entries(properties)) {
      if (decoded[key] !== undefined || rule.default === undefined) continue;
      decoded[key] = this.decode(rule, structuredClone(rule.default), [...path, key]);
    }
  }

  #decodeList(rule: Rule, list: unknown[], path: Path): unknown {
    const least = rule.minItems ?? 0;
    const most = rule.maxItems ?? Infinity;
    if (list.length < least || list.length > most) return this.#refuse(rule, list, path);
    const items = rule.items;
    return items === undefined ? list : list.map((item, i) => this.decode(items, item, [...path, i]));
  }

  #decodeText(rule: Rule, given: unknown, path: Path): unknown {
    // An unset quote around ${{VARIABLE}} must not turn a key of digits into a number.
    const value = typeof given === "string" ? given : (this.#source.substitutedText(path) ?? given);
    if (typeof value !== "string") return this.#refuse(rule, value, path);
    if (rule.enum !== undefined && !rule.enum.includes(value)) return this.#refuse(rule, value, path);
    if (value.length < (rule.minLength ?? 0)) return this.#refuse(rule, value, path);
    if (value.length > (rule.maxLength ?? Infinity)) return this.#refuse(rule, value, path);
    if (rule.pattern !== undefined && !new RegExp(rule.pattern).test(value))
      return this.#refuse(rule, value, path);
    return value;
  }

  #decodeNumber(rule: Rule, value: unknown, path: Path): unknown {
    if (typeof value !== "number" || !Number.isFinite(value)) return this.#refuse(rule, value, path);
    if (rule.type === "integer" && !Number.isSafeInteger(value)) return this.#refuse(rule, value, path);
    return isWithin(rule, value) ? value : this.#refuse(rule, value, path);
  }

  #decodeKind(rule: Rule, value: unknown, path: Path): unknown {
    switch (rule.kind) {
      case "duration":
      case "size": {
        const decoded = rule.kind === "duration" ? parseDuration(value) : parseSize(value);
        return decoded !== null && isWithin(rule, decoded) ? decoded : this.#refuse(rule, value, path);
      }
      case "address":
        return typeof value === "string" && isIP(stripBrackets(value)) !== 0
          ? stripBrackets(value)
          : this.#refuse(rule, value, path);
      case "cidr":
        return isCidrText(value) ? value : this.#refuse(rule, value, path);
      default:
        return isNameServer(value) ? value : this.#refuse(rule, value, path);
    }
  }

  /** The form is chosen by the type of what was given, so that messages speak of that form. */
  #decodeChoice(rule: Rule, value: unknown, path: Path): unknown {
    const form = rule.anyOf?.find((candidate) => fits(candidate, value));
    return form === undefined ? this.#refuse(rule, value, path) : this.decode(form, value, path);
  }

  #refuse(rule: Rule, value: unknown, path: Path): typeof REFUSED {
    this.#add(
      path,
      false,
      `given ${rule.secret === true ? `a value of type ${typeof value}` : shown(value)}, expected ${expected(rule)}`,
    );
    return REFUSED;
  }

  #refuseKey(key: string, known: string[], path: Path): void {
    const similar = nearest(key, known);
    const hint = similar === null ? `expected one of ${known.join(", ")}` : `did you mean ${similar}?`;
    this.#add(path, true, `unknown key ${JSON.stringify(key)}; ${hint}`);
  }

  #add(path: Path, ofKey: boolean, message: string): void {
    this.problems.push({ ...this.#source.place(path, ofKey), key: keyName(path), message });
  }
}

export function keyName(path: Path): string {
  let name = "";
  for (const step of path) {
    if (typeof step === "number") name += `[${step}]`;
    else name += name === "" ? step : `.${step}`;
  }
  return name;
}

/** In words, for messages and for the reference page. */
export function expected(rule: Rule): string {
  if (rule.expects !== undefined) return rule.expects;
  if (rule.enum !== undefined) return `one of ${rule.enum.join(", ")}`;
  if (rule.anyOf !== undefined) return rule.anyOf.map(expected).join(" or ");
  switch (rule.kind) {
    case "duration":
      return `a duration (seconds, or with ms, s, m, h, d)${range(rule, durationText)}`;
    case "size":
      return `a size (bytes, or with k, m, g)${range(rule, sizeText)}`;
    case "address":
      return "an IP address";
    case "cidr":
      return "an IP address or CIDR";
    case "name-server":
      return "an IP address, with or without a port";
    default:
  }
  switch (rule.type) {
    case "object":
      return "a map";
    case "array":
      return `a list${itemRange(rule)}${rule.items === undefined ? "" : `, each ${expected(rule.items)}`}`;
    case "string":
      return `a text${(rule.minLength ?? 0) > 0 ? " that is not empty" : ""}`;
    case "integer":
      return `a whole number${range(rule, String)}`;
    case "number":
      return `a number${range(rule, String)}`;
    case "boolean":
      return "true or false";
    default:
      return "any value";
  }
}

function range(rule: Rule, shown: (value: number) => string): string {
  const { minimum = 0, maximum } = rule;
  if (minimum > 0 && maximum !== undefined) return ` from ${shown(minimum)} to ${shown(maximum)}`;
  if (minimum > 0) return ` of at least ${shown(minimum)}`;
  return maximum === undefined ? "" : ` of at most ${shown(maximum)}`;
}

function itemRange(rule: Rule): string {
  if (rule.maxItems !== undefined) return ` of ${rule.minItems ?? 0} to ${rule.maxItems} entries`;
  return (rule.minItems ?? 0) > 0 ? ` of at least ${rule.minItems} entries` : "";
}

function fits(rule: Rule, value: unknown): boolean {
  if (rule.kind === "duration" || rule.kind === "size")
    return typeof value === "number" || typeof value === "string";
  if (rule.kind !== undefined) return typeof value === "string";
  if (rule.enum !== undefined) return rule.enum.includes(value);
  switch (rule.type) {
    case "object":
      return isMap(value);
    case "array":
      return Array.isArray(value);
    case "integer":
    case "number":
      return typeof value === "number";
    default:
      return typeof value === rule.type;
  }
}

function isWithin(rule: Rule, value: number): boolean {
  return value >= (rule.minimum ?? -Infinity) && value <= (rule.maximum ?? Infinity);
}

function isMap(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function stripBrackets(text: string): string {
  return text.startsWith("[") && text.endsWith("]") ? text.slice(1, -1) : text;
}

function isNameServer(value: unknown): boolean {
  if (typeof value !== "string") return false;
  if (isIP(stripBrackets(value)) !== 0) return true;
  const parts = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(value);
  if (parts === null || isIP(parts[1] ?? parts[2]) === 0) return false;
  return Number(parts[3]) >= 1 && Number(parts[3]) <= 65535;
}

function shown(value: unknown): string {
  if (value === null) return "nothing";
  if (Array.isArray(value)) return value.length === 0 ? "an empty list" : "a list";
  if (typeof value === "object") return "a map";
  const text = JSON.stringify(value);
  return text.length > 80 ? `${text.slice(0, 77)}...` : text;
}
