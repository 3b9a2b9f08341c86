/**
 * Reads the first message of a TLS client, before OpenSSL does: bounded, over any cut into records and segments.
 *
 * Promises never to read beyond the bytes given, and to say "malformed" for everything that RFC 8446 (and RFC 5246
 * for older clients) does not allow in the fields that it reads. Fields that nobody asks for are skipped; whether the
 * hello is acceptable otherwise is OpenSSL's to decide.
 */

import type { ClientHello } from "../../plugin/client-hello.ts";
import { ja3Of, ja3TextOf, ja4Of } from "./fingerprint.ts";

const RECORD_HEADER_BYTES = 5;
const HANDSHAKE_HEADER_BYTES = 4;
const HANDSHAKE_RECORD = 22;
const CLIENT_HELLO = 1;
const MAX_RECORD_BYTES = 16_384;
/** OpenSSL takes no larger one. */
const MAX_HELLO_BYTES = 16_384;
/** A hello in records of a few bytes each has a reason that we need not know. */
const MAX_RECORDS = 64;
/** IANA has some sixty; clients send about twenty. Each is compared with those before it: thousands took 10 ms. */
const MAX_EXTENSIONS = 128;
const RANDOM_BYTES = 32;
const MAX_NAME_BYTES = 255;

const SERVER_NAME = 0;
const GROUPS = 10;
const POINT_FORMATS = 11;
const SIGNATURE_ALGORITHMS = 13;
const ALPN = 16;
const SUPPORTED_VERSIONS = 43;

/** Longest input that can be "need-more". */
export const MAX_HELLO_WIRE_BYTES =
  MAX_HELLO_BYTES + HANDSHAKE_HEADER_BYTES + MAX_RECORDS * RECORD_HEADER_BYTES;

export type HelloResult = ParsedHello | "need-more" | "malformed";

/** Reads a hello from the start of what a client has sent; ask again with more after "need-more". */
export function readClientHello(bytes: Buffer): HelloResult {
  const message = handshakeMessage(bytes);
  if (typeof message === "string") return message;
  const cursor = new Cursor(message, HANDSHAKE_HEADER_BYTES, message.length);
  const hello = new ParsedHello(message);
  return hello.read(cursor) ? hello : "malformed";
}

/** The first handshake message without its records. A copy: the bytes are the socket's. */
function handshakeMessage(bytes: Buffer): Buffer | "need-more" | "malformed" {
  const parts: Buffer[] = [];
  let gathered = 0;
  let at = 0;
  let wanted = HANDSHAKE_HEADER_BYTES;
  for (let records = 0; gathered < wanted; records++) {
    if (records === MAX_RECORDS) return "malformed";
    const left = bytes.length - at;
    if (left > 0 && bytes[at] !== HANDSHAKE_RECORD) return "malformed";
    if (left > 1 && bytes[at + 1] !== 3) return "malformed";
    if (left < RECORD_HEADER_BYTES) return "need-more";
    const length = bytes.readUInt16BE(at + 3);
    if (length === 0 || length > MAX_RECORD_BYTES) return "malformed";
    const from = at + RECORD_HEADER_BYTES;
    const part = bytes.subarray(from, Math.min(from + length, bytes.length));
    parts.push(part);
    gathered += part.length;
    if (gathered >= HANDSHAKE_HEADER_BYTES && wanted === HANDSHAKE_HEADER_BYTES) {
      const head = parts.length === 1 ? part : Buffer.concat(parts);
      if (head[0] !== CLIENT_HELLO) return "malformed";
      wanted = HANDSHAKE_HEADER_BYTES + head.readUIntBE(1, 3);
      if (wanted > HANDSHAKE_HEADER_BYTES + MAX_HELLO_BYTES) return "malformed";
    }
    if (gathered < wanted && part.length < length) return "need-more";
    at = from + length;
  }
  return Buffer.concat(parts, wanted);
}

const NO_NUMBERS: readonly number[] = [];
const NO_TEXTS: readonly string[] = [];

const NO_BYTES = Buffer.alloc(0);

export class ParsedHello implements ClientHello {
  raw: Buffer;
  serverName: string | null = null;
  alpn = NO_TEXTS;
  legacyVersion = 0;
  supportedVersions = NO_NUMBERS;
  ciphers = NO_NUMBERS;
  extensions = NO_NUMBERS;
  groups = NO_NUMBERS;
  pointFormats = NO_NUMBERS;
  signatureAlgorithms = NO_NUMBERS;
  #ja3 = "";
  #ja4 = "";

  constructor(raw: Buffer) {
    this.raw = raw;
  }

  get ja3Text(): string {
    return ja3TextOf(this);
  }

  get ja3(): string {
    return (this.#ja3 ||= ja3Of(this));
  }

  get ja4(): string {
    return (this.#ja4 ||= ja4Of(this));
  }

  /** What was read stays, and fingerprints can be made of it: the bytes (1.5 KB and more) go. */
  forgetRaw(): void {
    this.raw = NO_BYTES;
  }

  /** False: malformed. */
  read(cursor: Cursor): boolean {
    this.legacyVersion = cursor.number(2);
    cursor.skip(RANDOM_BYTES);
    cursor.vector(1, 0, 32);
    this.ciphers = cursor.numbers(2, 2);
    cursor.vector(1, 1, 255);
    // RFC 5246 7.4.1.2: a hello may end here.
    if (!cursor.isBroken && cursor.isAtEnd) return true;
    const all = cursor.vector(2, 0, MAX_HELLO_BYTES);
    if (all === null || !cursor.isAtEnd) return false;
    const extensions: number[] = [];
    while (!all.isAtEnd && !all.isBroken) {
      const type = all.number(2);
      const content = all.vector(2, 0, MAX_HELLO_BYTES);
      if (
        content === null ||
        extensions.length === MAX_EXTENSIONS ||
        extensions.includes(type) ||
        !this.#take(type, content)
      )
        return false;
      extensions.push(type);
    }
    this.extensions = extensions;
    return !all.isBroken;
  }

  #take(type: number, content: Cursor): boolean {
    switch (type) {
      case SERVER_NAME:
        return this.#takeServerName(content);
      case ALPN:
        return this.#takeAlpn(content);
      case GROUPS:
        this.groups = content.numbers(2, 2);
        break;
      case POINT_FORMATS:
        this.pointFormats = content.numbers(1, 1);
        break;
      case SIGNATURE_ALGORITHMS:
        this.signatureAlgorithms = content.numbers(2, 2);
        break;
      case SUPPORTED_VERSIONS:
        this.supportedVersions = content.numbers(1, 2);
        break;
      default:
        return true;
    }
    return !content.isBroken && content.isAtEnd;
  }

  /** RFC 6066 3: one host name; other types of name do not exist. */
  #takeServerName(content: Cursor): boolean {
    const list = content.vector(2, 1, MAX_HELLO_BYTES);
    if (list === null || !content.isAtEnd) return false;
    const type = list.number(1);
    const name = list.vector(2, 1, MAX_NAME_BYTES);
    if (name === null || !list.isAtEnd || type !== 0) return false;
    const text = name.text();
    if (!isHostName(text)) return false;
    this.serverName = (text.endsWith(".") ? text.slice(0, -1) : text).toLowerCase();
    return true;
  }

  /** RFC 7301 3.1. */
  #takeAlpn(content: Cursor): boolean {
    const list = content.vector(2, 2, MAX_HELLO_BYTES);
    if (list === null || !content.isAtEnd) return false;
    const names: string[] = [];
    while (!list.isAtEnd) {
      const name = list.vector(1, 1, 255);
      if (name === null) return false;
      names.push(name.text());
    }
    this.alpn = names;
    return true;
  }
}

/** What a name may consist of on the wire: RFC 6066 has ASCII without a dot at the end; some send one. */
function isHostName(text: string): boolean {
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (c <= 0x20 || c >= 0x7f) return false;
  }
  return true;
}

/** Reads within bounds; what does not fit breaks it, and a broken one gives zeros and nothing. */
class Cursor {
  isBroken = false;
  readonly #bytes: Buffer;
  #at: number;
  readonly #end: number;

  constructor(bytes: Buffer, at: number, end: number) {
    this.#bytes = bytes;
    this.#at = at;
    this.#end = end;
  }

  get isAtEnd(): boolean {
    return this.#at === this.#end;
  }

  skip(length: number): void {
    if (this.#end - this.#at < length) this.isBroken = true;
    else this.#at += length;
  }

  number(width: 1 | 2): number {
    const at = this.#at;
    this.skip(width);
    if (this.isBroken) return 0;
    return width === 1 ? this.#bytes[at] : this.#bytes.readUInt16BE(at);
  }

  /** A part with its length before it; null: it does not fit, or has fewer or more bytes than allowed. */
  vector(lengthWidth: 1 | 2, least: number, most: number): Cursor | null {
    const length = this.number(lengthWidth);
    const at = this.#at;
    if (length < least || length > most) this.isBroken = true;
    this.skip(length);
    return this.isBroken ? null : new Cursor(this.#bytes, at, at + length);
  }

  /** A list of at least one number, with its length in bytes before it. */
  numbers(lengthWidth: 1 | 2, width: 1 | 2): readonly number[] {
    const list = this.vector(lengthWidth, width, MAX_HELLO_BYTES);
    const numbers: number[] = [];
    while (list !== null && !list.isAtEnd && !list.isBroken) numbers.push(list.number(width));
    if (list === null || list.isBroken) this.isBroken = true;
    return this.isBroken ? NO_NUMBERS : numbers.slice();
  }

  text(): string {
    return this.#bytes.toString("latin1", this.#at, this.#end);
  }
}
