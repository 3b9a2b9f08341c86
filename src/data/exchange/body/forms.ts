/** Fields of form bodies: `application/x-www-form-urlencoded`, and the text fields of `multipart/form-data`. */

/** More fields than this are not read: a bound against bodies made of separators. */
const MAX_FIELDS = 1000;

/** Decoded; the first of a name wins. */
export function readForm(text: string): Record<string, unknown> {
  const fields = Object.create(null) as Record<string, unknown>;
  let count = 0;
  for (const [name, value] of new URLSearchParams(text)) {
    if (++count > MAX_FIELDS) break;
    fields[name] ??= value;
  }
  return fields;
}

/** RFC 7578; parts with a file name are left out. `contentType` brings the boundary. */
export function readMultipart(body: Buffer, contentType: string): Record<string, unknown> {
  const fields = Object.create(null) as Record<string, unknown>;
  const boundary = /;\s*boundary=(?:"([^"]{1,70})"|([^;\s]{1,70}))/i.exec(contentType);
  if (boundary === null) return fields;
  const text = body.toString("latin1");
  const delimiter = `--${boundary[1] ?? boundary[2]}`;
  let at = text.indexOf(delimiter);
  for (let count = 0; at !== -1 && count < MAX_FIELDS; count++) {
    const start = at + delimiter.length;
    const next = text.indexOf(`\r\n${delimiter}`, start);
    if (next === -1 || text.startsWith("--", start)) break;
    readPart(text.slice(start + 2, next), fields);
    at = next + 2;
  }
  return fields;
}

function readPart(part: string, fields: Record<string, unknown>): void {
  const headEnd = part.indexOf("\r\n\r\n");
  if (headEnd === -1) return;
  const head = part.slice(0, headEnd);
  const name = /^content-disposition:[^\r\n]*?;\s*name="([^"]*)"/im.exec(head);
  if (name === null || /;\s*filename=/i.test(head)) return;
  fields[name[1]] ??= Buffer.from(part.slice(headEnd + 4), "latin1").toString();
}
