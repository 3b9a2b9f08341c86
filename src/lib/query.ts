/** Reads and removes single arguments of a query string, without parsing the others. */

/** Value of the first argument `name` (case sensitive), decoded ("+" and %XX); undefined when there is none. */
export function readQueryArgument(query: string, name: string): string | undefined {
  for (let at = 0; at < query.length;) {
    const end = argumentEnd(query, at);
    if (isNamed(query, at, end, name)) return decode(valueAt(query, at + name.length, end));
    at = end + 1;
  }
  return undefined;
}

/** The query without any argument `name` (case sensitive). */
export function removeQueryArgument(query: string, name: string): string {
  let kept = "";
  for (let at = 0; at < query.length;) {
    const end = argumentEnd(query, at);
    if (!isNamed(query, at, end, name)) kept += (kept === "" ? "" : "&") + query.slice(at, end);
    at = end + 1;
  }
  return kept;
}

function argumentEnd(query: string, from: number): number {
  const end = query.indexOf("&", from);
  return end === -1 ? query.length : end;
}

/** `after`: where the name ended; a name without "=" has the value "". */
function valueAt(query: string, after: number, end: number): string {
  return after < end ? query.slice(after + 1, end) : "";
}

function isNamed(query: string, at: number, end: number, name: string): boolean {
  const after = at + name.length;
  if (after > end || (after < end && query.charCodeAt(after) !== 0x3d)) return false;
  return query.startsWith(name, at);
}

/** What is not valid percent-encoding stays as it was sent. */
function decode(value: string): string {
  if (!value.includes("%") && !value.includes("+")) return value;
  const spaced = value.replaceAll("+", " ");
  try {
    return decodeURIComponent(spaced);
  } catch {
    return spaced; // malformed encoding or not UTF-8
  }
}
