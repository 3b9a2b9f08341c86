/**
 * `${{NAME}}` and `${{NAME:=default}}` in the static file, as APISIX substitutes them: in keys and in values,
 * several in one text. A value that consists of substituted text becomes a number or a boolean when it reads
 * as one. An unset variable without a default is an error, never an empty string.
 */

const REFERENCE = /\$\{\{(.*?)\}\}/gs;
const NAME_AND_DEFAULT = /^\s*([A-Za-z_][A-Za-z0-9_]*)\s*(?::=\s*(.*?)\s*)?$/s;
const NUMBER = /^\s*[+-]?(?:0[xX][0-9a-fA-F]+|(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*$/;

export interface Substitution {
  text: string;
  /** Whether anything was substituted. */
  changed: boolean;
  /** Of the references that cannot be resolved. */
  errors: string[];
}

export function substitute(text: string, env: NodeJS.ProcessEnv): Substitution {
  const errors: string[] = [];
  let changed = false;
  const result = text.replace(REFERENCE, (reference: string, inner: string) => {
    const parts = NAME_AND_DEFAULT.exec(inner);
    if (parts === null) {
      errors.push(`given ${JSON.stringify(reference)}, expected \${{NAME}} or \${{NAME:=default}}`);
      return "";
    }
    const value = env[parts[1]] ?? parts[2];
    if (value === undefined) {
      errors.push(
        `the environment variable ${parts[1]} is not set and \${{${parts[1]}}} has no default; ` +
          `set it or write \${{${parts[1]}:=default}}`,
      );
      return "";
    }
    changed = true;
    return value;
  });
  return { text: result, changed, errors };
}

/** What a substituted text stands for: a number, true, false or the text itself. */
export function typedText(text: string): string | number | boolean {
  if (text === "true") return true;
  if (text === "false") return false;
  return NUMBER.test(text) ? Number(text) : text;
}
