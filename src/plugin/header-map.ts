/**
 * Header fields as configuration names them: `{"X-Name": "text with $variables", "X-Count": 3}`.
 *
 * Values are made fit for the wire: no variable can end a field or begin another. Names are checked at write.
 */

import type { VariableReader } from "../lib/expression.ts";
import { isFieldName, wireText, wireValue } from "../lib/field-value.ts";
import { Type } from "../lib/schema.ts";
import { compileTemplate, type Template } from "../lib/template.ts";

export type HeaderMap = Readonly<Record<string, string | number>>;

/** A map with at least one field. */
export function headerMap(description: string) {
  return Type.Unsafe<HeaderMap>({
    type: "object",
    minProperties: 1,
    patternProperties: { "^[^:]+$": { oneOf: [{ type: "string" }, { type: "number" }] } },
    description,
  });
}

/** Null, or why `map` cannot be sent: its types are of the schema, its names need not be names. */
export function checkHeaderMap(map: Readonly<Record<string, unknown>> | undefined): string | null {
  for (const [name, value] of Object.entries(map ?? {})) {
    if (typeof value !== "string" && typeof value !== "number") return "invalid type as header value";
    if (name === "") return "invalid field length in header";
    if (!isFieldName(name)) return `invalid header name ${JSON.stringify(name)}, expected a token`;
  }
  return null;
}

/** A value with its variables; `render` is safe to send. */
export function compileFieldValue(value: string | number): Template {
  const template = compileTemplate(wireText(String(value)));
  if (template.variables.length === 0) return template;
  return { ...template, render: (reader) => template.render(reader, wireValue) };
}

/** What renders a whole map. Without variables, the same object each time: nobody may change it. */
export function compileHeaderMap(map: HeaderMap): (reader: VariableReader) => Record<string, string> {
  const fields = Object.entries(map).map(([name, value]) => ({ name, value: compileFieldValue(value) }));
  const render = (reader: VariableReader): Record<string, string> => {
    const headers: Record<string, string> = {};
    for (const { name, value } of fields) headers[name] = value.render(reader);
    return headers;
  };
  if (fields.some(({ value }) => value.variables.length > 0)) return render;
  const constant = render({ variable: () => undefined });
  return () => constant;
}
