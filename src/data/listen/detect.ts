/** Which protocol speaks on a cleartext connection? Its first bytes tell HTTP/2 with prior knowledge from HTTP/1. */

/** RFC 9113 3.4. */
const PREFACE = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "latin1");

/** "partial": so far it is the preface; ask again with more bytes. */
export function matchHttp2Preface(buffer: Buffer, from: number, to: number): "yes" | "no" | "partial" {
  const length = Math.min(to - from, PREFACE.length);
  if (length > 0 && buffer[from] !== PREFACE[0]) return "no";
  if (buffer.compare(PREFACE, 0, length, from, from + length) !== 0) return "no";
  return length === PREFACE.length ? "yes" : "partial";
}
