/**
 * Writes the field tables of docs/resources/*.md from the schemas in src/model. What stands outside the two markers
 * of a page is written by hand. A test compares; it also fails for a field that has no meaning here, and for a
 * meaning whose field is gone.
 */

import { readFileSync, writeFileSync } from "node:fs";
import { pluginMetadataType } from "../src/model/plugin-metadata.ts";
import { RESOURCE_TYPES } from "../src/model/resources.ts";
import type { ResourceType } from "../src/model/resource-type.ts";
import { meaningOf, unusedMeanings } from "./resource-meanings.ts";

export const BEGIN =
  "<!-- fields: made by scripts/docs-resources.ts from src/model; change those instead -->";
export const END = "<!-- end of fields -->";

const SECRET_MANAGERS = ["vault", "aws", "gcp"];

/** The part of JSON Schema that resources use. */
interface Schema {
  type?: string;
  properties?: Record<string, Schema>;
  required?: readonly string[];
  items?: Schema;
  enum?: readonly unknown[];
  anyOf?: readonly Schema[];
  format?: string;
  pattern?: string;
  default?: unknown;
  minLength?: number;
  maxLength?: number;
  minItems?: number;
  maxItems?: number;
  maxProperties?: number;
  minimum?: number;
  maximum?: number;
  exclusiveMinimum?: number;
}

/** Types that have a page. */
export const DOCUMENTED_TYPES = RESOURCE_TYPES;

export function pageOf(type: ResourceType): URL {
  return new URL(`../docs/resources/${type.plural.replaceAll("_", "-")}.md`, import.meta.url);
}

/** Markdown of what the schema says of one resource. Throws for a field without a meaning. */
export function fieldsOf(type: ResourceType): string {
  const lines = [BEGIN, "", ...factsOf(type), ""];
  if (type.singular === "secret") {
    for (const manager of SECRET_MANAGERS) {
      const schema = type.schemaFor!(`${manager}/1`, { plugins: { get: () => undefined } });
      lines.push(`### ${manager}`, "", ...table(type, schema as Schema), "");
    }
  } else if (type !== pluginMetadataType) {
    lines.push(...table(type, type.schema), "");
  }
  return [...lines, END].join("\n");
}

/** The page with its table replaced. Throws when the markers are not there. */
export function withFields(type: ResourceType, page: string): string {
  const begin = page.indexOf(BEGIN);
  const end = page.indexOf(END);
  if (begin === -1 || end < begin) throw new Error(`${pageOf(type).pathname}: expected the two markers`);
  return page.slice(0, begin) + fieldsOf(type) + page.slice(end + END.length);
}

function factsOf(type: ResourceType): string[] {
  const parent = type.parent === undefined ? "" : `${type.parent}/{${type.parent.slice(0, -1)}}/`;
  const path = `/apisix/admin/${parent}${type.plural}`;
  const { field, generated } = type.id;
  const id =
    field === null
      ? "the name of the plugin, in the path"
      : field === "username"
        ? "`username`, in the body"
        : `in the path or as \`id\` in the body${generated ? "; `POST` makes one" : ""}`;
  return [
    `- Path: \`${path}\` and, for one, \`${path}/{${field ?? "plugin"}}\``,
    `- Methods: ${type.methods.join(", ")}`,
    `- Id: ${id}`,
  ];
}

function table(type: ResourceType, schema: Schema): string[] {
  const lines = ["| field | expected | default | meaning |", "| --- | --- | --- | --- |"];
  addRows(lines, type, schema, "");
  return lines;
}

function addRows(lines: string[], type: ResourceType, schema: Schema, prefix: string): void {
  for (const [name, property] of Object.entries(schema.properties ?? {})) {
    const field = prefix + name;
    const required = schema.required?.includes(name) === true ? ", required" : "";
    const fallback = property.default === undefined ? "" : `\`${JSON.stringify(property.default)}\``;
    const cells = [`\`${field}\``, expected(property) + required, fallback, meaningOf(type.plural, field)];
    lines.push(`| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`);
    // An upstream inside another resource has a page of its own.
    if (name === "upstream") continue;
    const list = property.items ?? property.anyOf?.find((form) => form.type === "array")?.items;
    if (property.properties !== undefined) addRows(lines, type, property, `${field}.`);
    else if (list?.properties !== undefined) addRows(lines, type, list, `${field}[].`);
  }
}

function expected(schema: Schema): string {
  if (schema.enum !== undefined) return `one of ${schema.enum.map(String).join(", ")}`;
  const known = knownForm(schema);
  if (known !== null) return known;
  if (schema.anyOf !== undefined) return [...new Set(schema.anyOf.map(expected))].join(", or ");
  switch (schema.type) {
    case "string":
      return `text${range(schema.minLength, schema.maxLength, " characters")}${pattern(schema)}`;
    case "integer":
      return `whole number${range(schema.minimum, schema.maximum, "")}`;
    case "number":
      return schema.exclusiveMinimum === undefined
        ? `number${range(schema.minimum, schema.maximum, "")}`
        : `number above ${schema.exclusiveMinimum}`;
    case "boolean":
      return "true or false";
    case "array":
      return `list${range(schema.minItems, schema.maxItems, "")}${schema.items === undefined ? "" : `, each ${expected(schema.items)}`}`;
    case "object":
      return schema.maxProperties === undefined
        ? "object"
        : `object with at most ${schema.maxProperties} entry`;
    default:
      return schema.properties === undefined ? "any value" : "object";
  }
}

/** Forms that many fields share, in words instead of patterns. */
function knownForm(schema: Schema): string | null {
  if (schema.pattern?.startsWith("^\\*$|") === true) return "host name or address, possibly after a `*`";
  const [first] = schema.anyOf ?? [];
  if (first === undefined) return null;
  if (first.pattern === "^[a-zA-Z0-9-_.]+$")
    return "id: 1 to 64 of a-z, A-Z, 0-9, `-`, `_`, `.`; or a whole number";
  return first.format === "ipv4" ? "IP address or CIDR" : null;
}

function range(least: number | undefined, most: number | undefined, unit: string): string {
  if (least !== undefined && most !== undefined) return `, ${least} to ${most}${unit}`;
  if (least !== undefined) return `, at least ${least}${unit}`;
  return most === undefined ? "" : `, at most ${most}${unit}`;
}

function pattern(schema: Schema): string {
  return schema.pattern === undefined ? "" : `, matching \`${schema.pattern}\``;
}

if (import.meta.main) {
  for (const type of DOCUMENTED_TYPES) {
    const page = pageOf(type);
    writeFileSync(page, withFields(type, readFileSync(page, "utf8")));
  }
  const unused = unusedMeanings();
  if (unused.length > 0) throw new Error(`meanings without a field: ${unused.join(", ")}`);
}
