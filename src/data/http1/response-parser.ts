/**
 * Parser of an upstream's answer heads, as strict as the one for requests.
 *
 * Life: `begin(method)` when a request goes out; `feed` until it gives a position; then `head`, `framing` and
 * `keepAlive` hold. After a head with a 1xx status other than 101 go on feeding from that position: the next
 * `feed` starts the next head by itself. The body goes to a `BodyDecoder` (`decoder.begin(framing, length, …)`).
 *
 * A broken answer (two lengths, both framings, bad status line, bare LF, …) is `FAILED`, for which the caller
 * closes the connection: whatever follows has no certain meaning.
 */

import { HeaderList } from "../../lib/headers.ts";
import { UNKNOWN_LENGTH, type ResponseHead } from "../transport.ts";
import { CLASSES, CR, DIGIT, LF, SPACE, VALUE } from "./characters.ts";
import { ERRORS, type ProtocolError } from "./errors.ts";
import { CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING } from "./field-names.ts";
import { type BodyFraming, connectionTokens, FramingFields, SAYS_CLOSE, SAYS_KEEP_ALIVE } from "./framing.ts";
import { FAILED, HeadParser } from "./head-parser.ts";

/** Informational answers to one request; a server that sends more is taken for broken. */
export const MAX_INFORMATIONAL = 16;
const MAX_STATUS_LINE_BYTES = 1024;

const EMPTY_HEAD: ResponseHead = {
  status: 0,
  reason: "",
  headers: new HeaderList(),
  version: "1.1",
  bodyLength: 0,
};

export class ResponseParser extends HeadParser {
  /** The last complete head. A new object for each. */
  head: ResponseHead = EMPTY_HEAD;
  framing: BodyFraming = "none";
  /** The peer lets the connection be used again after this answer. */
  keepAlive = false;
  protected override readonly maxStartBytes = MAX_STATUS_LINE_BYTES;
  protected override readonly startTooLong = ERRORS.statusLine;
  readonly #framingFields = new FramingFields();
  #connection = 0;
  #isHeadRequest = false;
  #informational = 0;
  #isComplete = false;
  #status = 0;
  #reason = "";
  #isVersion10 = false;

  /** A request with this method was sent: what comes next is its answer. */
  begin(requestMethod: string): void {
    this.#isHeadRequest = requestMethod === "HEAD";
    this.#informational = 0;
    this.#isComplete = false;
    this.reset();
  }

  override feed(buffer: Buffer, from: number, to: number): number {
    if (this.#isComplete && from < to) {
      this.#isComplete = false;
      this.reset();
    }
    return super.feed(buffer, from, to);
  }

  override reset(): void {
    super.reset();
    this.#framingFields.reset();
    this.#connection = 0;
  }

  /** RFC 9112 section 4; the space behind the status may be missing when there is no reason. */
  protected override startLine(text: string, bytes: Buffer, base: number): number {
    if (!text.startsWith("HTTP/1.")) return this.fail(otherProtocol(text));
    const minor = bytes[base + 7];
    if ((minor !== 0x31 && minor !== 0x30) || bytes[base + 8] !== SPACE) return this.fail(ERRORS.statusLine);
    this.#isVersion10 = minor === 0x30;
    let status = 0;
    let here = base + 9;
    for (; here < base + 12; here++) {
      const code = bytes[here];
      if ((CLASSES[code] & DIGIT) === 0) return this.fail(ERRORS.statusLine);
      status = status * 10 + (code - 0x30);
    }
    if (status < 100) return this.fail(ERRORS.statusLine);
    this.#status = status;
    let code = bytes[here];
    this.#reason = "";
    if (code === SPACE) {
      const start = ++here;
      code = bytes[here];
      while ((CLASSES[code] & VALUE) !== 0) code = bytes[++here];
      if (here > start) this.#reason = text.slice(start - base, here - base);
    }
    if (code !== CR || bytes[here + 1] !== LF) return this.fail(ERRORS.statusLine);
    return here + 2 - base;
  }

  protected override badStart(text: string): ProtocolError | null {
    return "HTTP/1.".startsWith(text.slice(0, 7)) ? null : otherProtocol(text);
  }

  protected override special(kind: number, value: string): void {
    if (kind === CONTENT_LENGTH) this.#framingFields.addContentLength(value);
    else if (kind === TRANSFER_ENCODING) this.#framingFields.addTransferEncoding(value);
    else if (kind === CONNECTION) this.#connection |= connectionTokens(value);
  }

  /** RFC 9112 6.3: which answers have no body whatever their fields say, and how long the others are. */
  protected override finish(): boolean {
    const framing = this.#framingFields;
    const error = framing.check(this.#isVersion10);
    if (error !== null) return this.fail(error) !== FAILED;
    const status = this.#status;
    const isInformational = status < 200;
    if (isInformational && ++this.#informational > MAX_INFORMATIONAL && status !== 101) {
      return this.fail(ERRORS.tooManyInformational) !== FAILED;
    }

    this.keepAlive =
      (this.#connection & SAYS_CLOSE) === 0 &&
      (!this.#isVersion10 || (this.#connection & SAYS_KEEP_ALIVE) !== 0);
    let bodyLength = 0;
    if (this.#isHeadRequest || isInformational || status === 204 || status === 304) {
      this.framing = "none";
      // A length on a 1xx or 204 is forbidden (RFC 9110 8.6); its sender may well send such a body, too.
      const claimsBody = framing.isChunked || framing.contentLength > 0;
      if (claimsBody && !this.#isHeadRequest && status !== 304) this.keepAlive = false;
    } else if (framing.isChunked) {
      this.framing = "chunked";
      bodyLength = UNKNOWN_LENGTH;
    } else if (framing.contentLength === -1) {
      this.framing = "close";
      bodyLength = UNKNOWN_LENGTH;
      this.keepAlive = false;
    } else {
      this.framing = framing.contentLength === 0 ? "none" : "length";
      bodyLength = framing.contentLength;
    }
    this.head = {
      status,
      reason: this.#reason,
      headers: this.fields,
      version: this.#isVersion10 ? "1.0" : "1.1",
      bodyLength,
    };
    this.#isComplete = true;
    return true;
  }
}

/** What people forget is the scheme of the upstream: the node may speak HTTP/2 (its first frame is SETTINGS), or TLS. */
function otherProtocol(text: string): ProtocolError {
  const first = text.charCodeAt(0);
  // RFC 9113 sections 3.4 and 4.1: 24 bits of length, the type.
  if (first === 0 && text.charCodeAt(1) === 0 && text.charCodeAt(3) === 4) return ERRORS.statusLineHttp2;
  // RFC 8446 section 5.1: an alert or a handshake, and the version.
  const isTls = (first === 0x15 || first === 0x16) && text.charCodeAt(1) === 3;
  return isTls ? ERRORS.statusLineTls : ERRORS.statusLine;
}
