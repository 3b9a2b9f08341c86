/**
 * Every way in which a message can break HTTP/1.1 here: one row each, from which the answer is made.
 *
 * Parsers return rows and never throw; nothing branches on a message. `status` is what a client is told about
 * its request (RFC 9110 section 15); the same row found in an upstream's answer is a 502 whatever it says.
 */

export interface ProtocolError {
  readonly code: string;
  readonly status: number;
  readonly message: string;
}

function row(code: string, status: number, message: string): ProtocolError {
  return { code, status, message };
}

export const ERRORS = {
  requestLine: row("request-line", 400, "malformed request line"),
  method: row("method", 400, "malformed method"),
  methodRefused: row("method-refused", 405, "method not allowed"),
  target: row("target", 400, "malformed request target"),
  targetTooLong: row("target-too-long", 414, "request target too long"),
  version: row("version", 505, "HTTP version not supported"),
  leadingLines: row("leading-lines", 400, "more than one empty line before the request line"),
  statusLine: row("status-line", 400, "malformed status line"),
  statusLineHttp2: row(
    "status-line",
    400,
    "malformed status line: the node speaks HTTP/2 (scheme grpc or h2c)",
  ),
  statusLineTls: row(
    "status-line",
    400,
    "malformed status line: the node speaks TLS (scheme https, grpcs or h2)",
  ),
  tooManyInformational: row("too-many-informational", 400, "too many informational answers"),
  lineEnd: row("line-end", 400, "line not ended by CRLF"),
  folding: row("folding", 400, "obsolete line folding"),
  fieldName: row("field-name", 400, "malformed header name"),
  fieldValue: row("field-value", 400, "control character in header value"),
  underscore: row("underscore", 400, "underscore in header name"),
  headTooLarge: row("head-too-large", 431, "header block too large"),
  tooManyFields: row("too-many-fields", 431, "too many headers"),
  hostMissing: row("host-missing", 400, "missing Host header"),
  hostRepeated: row("host-repeated", 400, "more than one Host header"),
  host: row("host", 400, "malformed Host header"),
  hostDiffers: row("host-differs", 400, "Host and :authority name different hosts"),
  scheme: row("scheme", 400, "unknown scheme"),
  connectionField: row("connection-field", 400, "header of a connection in HTTP/2"),
  framingBlank: row("framing-blank", 400, "tab in Content-Length or Transfer-Encoding"),
  contentLength: row("content-length", 400, "malformed Content-Length"),
  contentLengthRepeated: row("content-length-repeated", 400, "more than one Content-Length"),
  bothFramings: row("both-framings", 400, "both Content-Length and Transfer-Encoding"),
  transferEncoding: row("transfer-encoding", 400, "Transfer-Encoding other than chunked"),
  transferCoding: row("transfer-coding", 501, "unknown transfer coding"),
  transferEncodingVersion: row("transfer-encoding-version", 400, "Transfer-Encoding on HTTP/1.0"),
  unusualBody: row("unusual-body", 400, "body not permitted with this method"),
  chunkSize: row("chunk-size", 400, "malformed chunk size"),
  chunkExtension: row("chunk-extension", 400, "malformed or too long chunk extension"),
  chunkEnd: row("chunk-end", 400, "chunk not ended by CRLF"),
  trailersTooLarge: row("trailers-too-large", 431, "trailer section too large"),
  trailerFraming: row("trailer-framing", 400, "Content-Length or Transfer-Encoding in the trailer section"),
  bodyTooLarge: row("body-too-large", 413, "request body too large"),
  truncated: row("truncated", 400, "message ended before it was complete"),
  headTimeout: row("head-timeout", 408, "request header timeout"),
  bodyTimeout: row("body-timeout", 408, "request body timeout"),
  sendTimeout: row("send-timeout", 408, "answer not read in time"),
  internal: row("internal", 500, "internal server error"),
} as const satisfies Record<string, ProtocolError>;

/** What an exchange is told when its request breaks off by `error`. */
export function abortReason(error: ProtocolError): "closed" | "malformed" | "timeout" | "too-large" {
  if (error.status === 408) return "timeout";
  if (error.status === 500) return "closed";
  return error.status === 413 ? "too-large" : "malformed";
}

/** A field that a plugin or the gateway wanted to send and that would break the message. */
export class InvalidFieldError extends Error {
  override readonly name = "InvalidFieldError";
  readonly code = "invalid-field";
  readonly field: string;

  constructor(field: string, part: "name" | "value" | "reason" | "target" | "method", given: string) {
    super(
      `header ${JSON.stringify(field)}: ${part} ${JSON.stringify(given.slice(0, 64))} ` +
        `holds characters that HTTP does not permit; expected ${
          part === "value" || part === "reason" ? "tab, visible Latin-1 and space" : "visible ASCII only"
        }`,
    );
    this.field = field;
  }
}
