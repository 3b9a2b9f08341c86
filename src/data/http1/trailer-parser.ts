/**
 * Parser of the trailer section behind the last chunk (RFC 9112 7.1.2).
 *
 * Fields that route or authenticate a message are dropped: they must not be learnt after the decisions that
 * rest on them (RFC 9110 6.5.1). Framing in a trailer section is an attack or a confusion, and an error.
 */

import { HeaderList } from "../../lib/headers.ts";
import { ERRORS, type ProtocolError } from "./errors.ts";
import { CONTENT_LENGTH, TRANSFER_ENCODING } from "./field-names.ts";
import { HeadParser } from "./head-parser.ts";

const TRAILER_LIMITS = { maxHeaderBytes: 8 * 1024, maxHeaders: 32 };

const FORBIDDEN = new Set(
  (
    "accept-encoding age authorization cache-control connection content-encoding content-range content-type " +
    "cookie date expect expires forwarded host http2-settings if-match if-modified-since if-none-match if-range " +
    "if-unmodified-since keep-alive location max-forwards pragma proxy-authenticate proxy-authorization proxy-connection " +
    "range retry-after set-cookie te trailer upgrade vary via www-authenticate"
  ).split(" "),
);

/** Who speaks, for whom: what the gateway itself tells upstreams. */
const FORBIDDEN_PREFIXES = ["x-forwarded-", "x-real-ip", "x-consumer-", "x-credential-"];

export class TrailerParser extends HeadParser {
  /** After a complete section: what it held, or null for nothing. */
  trailers: HeaderList | null = null;

  protected override readonly maxStartBytes = TRAILER_LIMITS.maxHeaderBytes;
  protected override readonly startTooLong = ERRORS.headTooLarge;

  constructor() {
    super(TRAILER_LIMITS);
  }

  protected override startLine(): number {
    return 0;
  }

  protected override badStart(): ProtocolError | null {
    return null;
  }

  protected override special(kind: number): void {
    if (kind === CONTENT_LENGTH || kind === TRANSFER_ENCODING) this.fail(ERRORS.trailerFraming);
  }

  protected override finish(): boolean {
    if (this.error !== null) return false;
    const { names, rawNames, values } = this.fields;
    const kept = new HeaderList();
    for (let i = 0; i < names.length; i++) {
      if (!isForbiddenTrailer(names[i])) kept.push(names[i], rawNames[i], values[i]);
    }
    this.trailers = kept.length > 0 ? kept : null;
    return true;
  }
}

/** Fields whose place is the head, in every version of HTTP. */
export function isForbiddenTrailer(name: string): boolean {
  return FORBIDDEN.has(name) || FORBIDDEN_PREFIXES.some((prefix) => name.startsWith(prefix));
}
