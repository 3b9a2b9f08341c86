/**
 * Text with variables, as users write it in configuration: `$name`, `${name}` and `${name ?? default}`.
 *
 * Names may hold dots (`$post_arg.user.id`). Compiled once, rendered by joining. A variable without a value renders as
 * its default, else as nothing. `\$` keeps the dollar from naming a variable and stays as it is written; a dollar before
 * anything but a name is text.
 */

import type { VariableReader } from "./expression.ts";

export interface Template {
  /** Names of the variables, each once, in the order of the text. Empty: `render` always answers the text. */
  readonly variables: readonly string[];
  /** `escape` is applied to what variables hold, not to the text around them. */
  render(reader: VariableReader, escape?: (value: string) => string): string;
  /** Whether at least one variable has a value or a default: keys made of nothing are no keys. */
  isResolved(reader: VariableReader): boolean;
}

/** A dollar that is not escaped, and a name with or without braces. No part overlaps the next: linear. */
const VARIABLE = /(?<!\\)\$(?:\{([^}]+)\}|([\w.]+))/g;

interface Part {
  /** Text before the variable. */
  literal: string;
  name: string;
  fallback: string | undefined;
}

export function compileTemplate(text: string): Template {
  const parts: Part[] = [];
  let end = 0;
  for (const match of text.matchAll(VARIABLE)) {
    const [name, fallback] = (match[1] ?? match[2]).split("??", 2).map((word) => word.trim());
    parts.push({ literal: text.slice(end, match.index), name, fallback });
    end = match.index + match[0].length;
  }
  if (parts.length === 0) return { variables: [], render: () => text, isResolved: () => false };
  const tail = text.slice(end);
  return {
    variables: [...new Set(parts.map((part) => part.name))],
    render: (reader, escape) => {
      let rendered = "";
      for (let i = 0; i < parts.length; i++) {
        const value = valueOf(reader, parts[i]) ?? "";
        rendered += parts[i].literal + (escape === undefined ? value : escape(value));
      }
      return rendered + tail;
    },
    isResolved: (reader) => parts.some((part) => valueOf(reader, part) !== undefined),
  };
}

function valueOf(reader: VariableReader, part: Part): string | undefined {
  const value = reader.variable(part.name);
  if (typeof value === "string") return value;
  return typeof value === "number" || typeof value === "boolean" ? String(value) : part.fallback;
}
