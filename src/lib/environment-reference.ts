/**
 * `$env://NAME` and `$env://NAME/key` (of a JSON object) where a certificate, a key or a token may stand. Other
 * references are not known here.
 */

const REFERENCE = /^\$(?:env|ENV):\/\/([^/]+)(?:\/(.+))?$/;

/** The text itself when it is no reference; undefined: it leads nowhere. */
export function resolveReference(text: string, env: NodeJS.ProcessEnv = process.env): string | undefined {
  if (!text.startsWith("$")) return text;
  const parts = REFERENCE.exec(text);
  const value = parts === null ? undefined : env[parts[1]];
  if (value === undefined || parts![2] === undefined) return value;
  try {
    const field = (JSON.parse(value) as Record<string, unknown> | null)?.[parts![2]];
    return typeof field === "string" ? field : undefined;
  } catch {
    // The variable is no JSON: it has no such field.
    return undefined;
  }
}
