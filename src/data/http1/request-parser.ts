/**
 * Parser of request heads (RFC 9112 sections 2, 3 and 6), strict wherever leniency gives a message two readings.
 *
 * Promises: what comes out has one validated host, a target in origin form or "*", and an exact framing; what
 * other servers may read differently is refused with a row of `ERRORS`. Leaves to others: percent-encoding and
 * dot segments of the path (one normaliser serves router, plugins and upstream).
 */

import type { HttpConfig } from "../../config/static-config.ts";
import { HeaderList } from "../../lib/headers.ts";
import { UNKNOWN_LENGTH, type RequestHead } from "../transport.ts";
import { CLASSES, CR, DIGIT, LF, METHOD, RELAXED_TARGET, SPACE, TARGET } from "./characters.ts";
import { ERRORS, type ProtocolError } from "./errors.ts";
import { CONNECTION, CONTENT_LENGTH, EXPECT, HOST_FIELD, TRANSFER_ENCODING, UPGRADE } from "./field-names.ts";
import {
  type BodyFraming,
  connectionTokens,
  FramingFields,
  SAYS_CLOSE,
  SAYS_KEEP_ALIVE,
  SAYS_UPGRADE,
} from "./framing.ts";
import { HeadParser, NEED_MORE } from "./head-parser.ts";
import { authorityOf, splitAbsoluteTarget } from "./request-target.ts";
import { applyUnderscorePolicy, type UnderscorePolicy } from "./underscores.ts";

export const MAX_METHOD_BYTES = 32;
/** An empty line, method, two spaces, version and line end beside the target. */
const START_LINE_REST_BYTES = 2 + MAX_METHOD_BYTES + 12;

export type RequestLimits = Pick<
  HttpConfig,
  | "maxHeaderBytes"
  | "maxHeaders"
  | "maxTargetBytes"
  | "underscoresInHeaders"
  | "relaxedTarget"
  | "refuseUnusualBodies"
>;

const EMPTY_HEAD: RequestHead = {
  method: "",
  target: "",
  authority: "",
  sentAuthority: "",
  headers: new HeaderList(),
  version: "1.1",
  bodyLength: 0,
  upgrade: null,
  expectsContinue: false,
  headBytes: 0,
};

export class RequestParser extends HeadParser {
  /** The last complete head. A new object for each. */
  head: RequestHead = EMPTY_HEAD;
  framing: BodyFraming = "none";
  /** The client lets the connection be used again after this request. */
  keepAlive = false;
  protected override readonly maxStartBytes: number;
  protected override readonly startTooLong = ERRORS.targetTooLong;
  readonly #maxTargetBytes: number;
  readonly #targetClass: number;
  readonly #underscores: UnderscorePolicy;
  readonly #refusesUnusualBodies: boolean;
  readonly #framingFields = new FramingFields();
  #method = "";
  #target = "";
  #isVersion10 = false;
  #hosts = 0;
  #host = "";
  #connection = 0;
  #upgrade = "";
  #expect = "";

  constructor(limits: RequestLimits) {
    super(limits);
    this.#maxTargetBytes = limits.maxTargetBytes;
    this.maxStartBytes = limits.maxTargetBytes + START_LINE_REST_BYTES;
    this.#targetClass = limits.relaxedTarget ? RELAXED_TARGET : TARGET;
    this.#underscores = limits.underscoresInHeaders;
    this.#refusesUnusualBodies = limits.refuseUnusualBodies;
  }

  override reset(): void {
    super.reset();
    this.#framingFields.reset();
    this.#hosts = 0;
    this.#connection = 0;
    this.#upgrade = "";
    this.#expect = "";
  }

  protected override startLine(text: string, bytes: Buffer, base: number): number {
    let here = base;
    if (bytes[here] === CR && bytes[here + 1] === LF) {
      // One empty line is what old clients send behind a body (RFC 9112 2.2).
      here += 2;
      if (!text.includes("\n", here - base)) return NEED_MORE;
      if (bytes[here] === CR) return this.fail(ERRORS.leadingLines);
    }
    const methodStart = here;
    let code = bytes[here];
    while ((CLASSES[code] & METHOD) !== 0) code = bytes[++here];
    if (code !== SPACE || here === methodStart || here - methodStart > MAX_METHOD_BYTES) {
      return this.fail(ERRORS.method);
    }
    this.#method = methodAt(text, methodStart - base, here - base);

    const targetStart = ++here;
    code = bytes[here];
    const targetClass = this.#targetClass;
    while ((CLASSES[code] & targetClass) !== 0) code = bytes[++here];
    if (here - targetStart > this.#maxTargetBytes) return this.fail(ERRORS.targetTooLong);
    if (code !== SPACE) return this.fail(code === CR || code === LF ? ERRORS.requestLine : ERRORS.target);
    if (here === targetStart) return this.fail(ERRORS.requestLine);
    this.#target = text.slice(targetStart - base, here - base);
    here += 1 - base;
    if (text.startsWith("HTTP/1.1\r\n", here)) this.#isVersion10 = false;
    else if (text.startsWith("HTTP/1.0\r\n", here)) this.#isVersion10 = true;
    else return this.fail(this.#badVersion(text, here));
    return here + 10;
  }

  protected override badStart(text: string): ProtocolError | null {
    const code = text.charCodeAt(0);
    return code === CR || (CLASSES[code] & METHOD) !== 0 ? null : ERRORS.method;
  }

  protected override special(kind: number, value: string): void {
    switch (kind) {
      case HOST_FIELD:
        this.#hosts++;
        this.#host = value;
        break;
      case CONTENT_LENGTH:
        this.#framingFields.addContentLength(value);
        break;
      case TRANSFER_ENCODING:
        this.#framingFields.addTransferEncoding(value);
        break;
      case CONNECTION:
        this.#connection |= connectionTokens(value);
        break;
      case UPGRADE:
        this.#upgrade = this.#upgrade === "" ? value : `${this.#upgrade},${value}`;
        break;
      case EXPECT:
        this.#expect = value;
        break;
      default:
    }
  }

  protected override finish(): boolean {
    const framing = this.#framingFields;
    const method = this.#method;
    const fields = this.fields;
    const isVersion10 = this.#isVersion10;
    const framingError = framing.check(isVersion10);
    if (framingError !== null) return this.#refuse(framingError);

    if (this.#hosts !== 1 && (this.#hosts > 1 || !isVersion10)) {
      return this.#refuse(this.#hosts > 1 ? ERRORS.hostRepeated : ERRORS.hostMissing);
    }
    let sentAuthority = this.#hosts === 0 ? "" : this.#host;
    let authority: string | null = this.#hosts === 0 ? "" : authorityOf(sentAuthority);
    if (authority === null) return this.#refuse(ERRORS.host);
    if (method === "CONNECT" || method === "TRACE") return this.#refuse(ERRORS.methodRefused);
    let target = this.#target;
    if (target.charCodeAt(0) !== 0x2f && !(target === "*" && method === "OPTIONS")) {
      const absolute = splitAbsoluteTarget(target, method);
      if (absolute === null) return this.#refuse(ERRORS.target);
      // RFC 9112 3.2.2: the target's authority replaces whatever Host says.
      ({ authority, sentAuthority, target } = absolute);
      fields.set("Host", sentAuthority);
    }

    let bodyLength = 0;
    if (framing.isChunked) {
      this.framing = "chunked";
      bodyLength = UNKNOWN_LENGTH;
    } else if (framing.contentLength > 0) {
      this.framing = "length";
      bodyLength = framing.contentLength;
    } else this.framing = "none";
    if (bodyLength !== 0 && this.#refusesUnusualBodies && isBodyUnusual(method)) {
      return this.#refuse(ERRORS.unusualBody);
    }
    if (this.sawUnderscore && !applyUnderscorePolicy(fields, this.#underscores))
      return this.#refuse(ERRORS.underscore);

    const connection = this.#connection;
    this.keepAlive =
      (connection & SAYS_CLOSE) === 0 && (!isVersion10 || (connection & SAYS_KEEP_ALIVE) !== 0);
    this.head = {
      method,
      target,
      authority,
      sentAuthority,
      headers: fields,
      version: isVersion10 ? "1.0" : "1.1",
      bodyLength,
      upgrade:
        (connection & SAYS_UPGRADE) !== 0 && method === "GET" && bodyLength === 0 && !isVersion10
          ? permittedUpgrade(this.#upgrade)
          : null,
      expectsContinue:
        bodyLength !== 0 &&
        !isVersion10 &&
        this.#expect !== "" &&
        this.#expect.toLowerCase() === "100-continue",
      headBytes: this.headBytes,
    };
    return true;
  }

  #refuse(error: ProtocolError): false {
    this.fail(error);
    return false;
  }

  #badVersion(text: string, at: number): ProtocolError {
    const isVersion =
      text.startsWith("HTTP/", at) &&
      (CLASSES[text.charCodeAt(at + 5)] & DIGIT) !== 0 &&
      text.charCodeAt(at + 6) === 0x2e &&
      (CLASSES[text.charCodeAt(at + 7)] & DIGIT) !== 0;
    if (!isVersion) return ERRORS.requestLine;
    const code = text.charCodeAt(at + 8);
    if (code === LF || (code === CR && text.charCodeAt(at + 9) !== LF)) return ERRORS.lineEnd;
    if (code !== CR) return ERRORS.requestLine;
    // "HTTP/2.0" on a request line is a confusion of protocols, except in the preface of HTTP/2 itself.
    if (text.charCodeAt(at + 5) === 0x32) return this.#method === "PRI" ? ERRORS.version : ERRORS.requestLine;
    return text.charCodeAt(at + 5) === 0x31 && text.charCodeAt(at + 7) < 0x32
      ? ERRORS.requestLine
      : ERRORS.version;
  }
}

/** The usual methods as constants: no string is built for them. */
function methodAt(text: string, from: number, to: number): string {
  switch (to - from) {
    case 3:
      if (text.startsWith("GET", from)) return "GET";
      if (text.startsWith("PUT", from)) return "PUT";
      break;
    case 4:
      if (text.startsWith("POST", from)) return "POST";
      if (text.startsWith("HEAD", from)) return "HEAD";
      break;
    case 5:
      if (text.startsWith("PATCH", from)) return "PATCH";
      break;
    case 6:
      if (text.startsWith("DELETE", from)) return "DELETE";
      break;
    case 7:
      if (text.startsWith("OPTIONS", from)) return "OPTIONS";
      break;
    default:
  }
  return text.slice(from, to);
}

export function isBodyUnusual(method: string): boolean {
  return method === "GET" || method === "HEAD" || method === "DELETE";
}

/** Protocols that change what this connection speaks below the gateway; never passed on. */
const REFUSED_UPGRADES = /^(?:h2c?|http|tls|ssl)(?:\/|$)/;

function permittedUpgrade(value: string): string | null {
  if (value === "websocket") return value;
  const protocols = value
    .toLowerCase()
    .split(",")
    .map((protocol) => protocol.trim())
    .filter((protocol) => protocol !== "" && !REFUSED_UPGRADES.test(protocol));
  return protocols.length === 1 ? protocols[0] : null;
}
