/** Configuration of `response-rewrite`: its schema, and the checks that a schema cannot say. */

import { Type, type Static } from "../../plugin/index.ts";
import { checkHeaderMap } from "../../plugin/header-map.ts";
import { oneOf } from "../../plugin/schema.ts";
import { isFieldName } from "../../lib/field-value.ts";
import { checkExpression, type Expression } from "../../lib/expression.ts";
import { checkPattern } from "../../lib/pattern.ts";

export interface HeaderChanges {
  add?: string[];
  set?: Record<string, string | number>;
  remove?: string[];
}

const fields = {
  type: "object",
  minProperties: 1,
  patternProperties: { "^[^:]+$": { oneOf: [{ type: "string" }, { type: "number" }] } },
};

export const Config = Type.Object(
  {
    headers: Type.Optional(
      Type.Unsafe<HeaderChanges | Record<string, string | number>>({
        description: "Fields to set, or {add, set, remove}; text may hold $variables; an empty text removes",
        anyOf: [
          fields,
          {
            properties: {
              add: {
                type: "array",
                minItems: 1,
                items: { type: "string", pattern: "^[^:]+:[^:]*[^/]$" },
                description: "Fields to add, as `Name: value`",
              },
              set: { ...fields, description: "Fields to set" },
              remove: {
                type: "array",
                minItems: 1,
                items: { type: "string", pattern: "^[^:]+$" },
                description: "Names of fields to remove",
              },
            },
          },
        ],
      }),
    ),
    body: Type.Optional(Type.String({ description: "Body in the place of the answer's; not with filters" })),
    body_base64: Type.Boolean({ default: false, description: "The body is written in base64" }),
    status_code: Type.Optional(
      Type.Integer({ minimum: 200, maximum: 598, description: "Status in the place of the answer's" }),
    ),
    vars: Type.Optional(
      Type.Unsafe<Expression>({
        type: "array",
        description: "Expression; answers for which it does not hold stay as they are",
      }),
    ),
    filters: Type.Optional(
      Type.Array(
        Type.Object({
          regex: Type.String({ minLength: 1, description: "Regular expression to look for" }),
          scope: oneOf(["once", "global"], {
            default: "once",
            description: "Replace the first match or all",
          }),
          replace: Type.String({ description: "Text in the place of a match; $1, ${1} stand for groups" }),
          options: Type.String({ default: "jo", description: "Options of ngx.re, such as i" }),
        }),
        { minItems: 1, description: "Replacements in the body, one after the other; not with body" },
      ),
    ),
    max_resp_body_size: Type.Integer({
      minimum: 1,
      default: 67_108_864,
      description: "Bytes of a body that are kept in memory for the filters; what is beyond is cut off",
    }),
  },
  {
    dependencies: {
      body: { not: { required: ["filters"] } },
      filters: { not: { required: ["body"] } },
    },
  },
);

export type Config = Static<typeof Config>;

/** Null, or why the configuration cannot be used, in the words of APISIX where it has some. */
export function check(config: Config): string | null {
  return checkHeaders(config.headers) ?? checkBody(config) ?? checkVars(config.vars) ?? checkFilters(config);
}

/** Whether the headers are written as {add, set, remove} and not as a map of fields to set. */
export function isChanges(
  headers: HeaderChanges | Record<string, string | number>,
): headers is HeaderChanges {
  return (
    typeof headers.add === "object" || typeof headers.set === "object" || typeof headers.remove === "object"
  );
}

/** Name and value of an `add` entry; null when it has none. Colons in values are no part of APISIX's form. */
export function readAddition(entry: string): { name: string; value: string } | null {
  const colon = entry.indexOf(":");
  const name = entry.slice(0, colon).trimEnd();
  const value = entry.slice(colon + 1).trimStart();
  return isFieldName(name) && value !== "" ? { name, value } : null;
}

/** Bytes of base64 text, padded or not; null when it is none. */
export function decodeBase64(text: string): Buffer | null {
  const digits = text.replace(/={1,2}$/, "");
  if (digits === "" || digits.length % 4 === 1 || !/^[A-Za-z0-9+/]+$/.test(digits)) return null;
  return Buffer.from(digits, "base64");
}

function checkHeaders(headers: Config["headers"]): string | null {
  if (headers === undefined) return null;
  if (!isChanges(headers)) return checkHeaderMap(headers);
  const addition = headers.add?.find((entry) => readAddition(entry) === null);
  if (addition !== undefined)
    return `invalid header ${JSON.stringify(addition)} in add, expected "Name: value"`;
  const removal = headers.remove?.find((name) => !isFieldName(name));
  if (removal !== undefined) return `invalid header name ${JSON.stringify(removal)}, expected a token`;
  return checkHeaderMap(headers.set);
}

function checkBody(config: Config): string | null {
  if (!config.body_base64 || decodeBase64(config.body ?? "") !== null) return null;
  return "invalid base64 content";
}

function checkVars(vars: Expression | undefined): string | null {
  const reason = vars === undefined ? null : checkExpression(vars);
  return reason === null ? null : `failed to validate the 'vars' expression: ${reason}`;
}

function checkFilters(config: Config): string | null {
  for (const { regex, options } of config.filters ?? []) {
    const reason = checkPattern(regex, options);
    if (reason !== null) return `regex "${regex}" validation failed: ${reason}`;
  }
  return null;
}
