/**
 * Base64 as it comes, chunk by chunk (RFC 4648 section 4). Several encoded parts may follow each other, each with padding of
 * its own, as gRPC-Web permits; the last one need not have any. Line ends between digits are skipped.
 */

const UNPADDED = /^[A-Za-z0-9+/]*$/;
const WHOLE = /^[A-Za-z0-9+/]*={0,2}$/;
const LINE_ENDS = /[\r\n]+/g;
const QUANTUM = 4;

export class Base64Stream {
  #rest = "";

  /** The bytes of all whole groups of four digits so far; null: that is not base64. */
  decode(chunk: Buffer): Buffer | null {
    let text = this.#rest + chunk.toString("latin1");
    if (text.includes("\n") || text.includes("\r")) text = text.replaceAll(LINE_ENDS, "");
    const whole = text.length - (text.length % QUANTUM);
    this.#rest = text.slice(whole);
    return decodeGroups(text.slice(0, whole));
  }

  /** What is left of a last group without padding; null: it is half a byte. */
  end(): Buffer | null {
    const rest = this.#rest;
    this.#rest = "";
    return rest.length === 1 || !UNPADDED.test(rest) ? null : Buffer.from(rest, "base64");
  }
}

/** `text` is whole groups. */
function decodeGroups(text: string): Buffer | null {
  if (WHOLE.test(text)) return Buffer.from(text, "base64");
  const parts: Buffer[] = [];
  for (let at = 0; at < text.length;) {
    const padding = text.indexOf("=", at);
    const end = padding === -1 ? text.length : padding - (padding % QUANTUM) + QUANTUM;
    const part = text.slice(at, end);
    if (!WHOLE.test(part)) return null;
    parts.push(Buffer.from(part, "base64"));
    at = end;
  }
  return Buffer.concat(parts);
}
