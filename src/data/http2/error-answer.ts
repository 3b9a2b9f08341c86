/** What the protocol engine itself says to a client over HTTP/2: the same as over HTTP/1.1, per row of `ERRORS`. */

import type { ProtocolError } from "../http1/errors.ts";

export function errorText(error: ProtocolError): string {
  return `${JSON.stringify({ error_msg: error.message })}\n`;
}

export function errorFields(error: ProtocolError): string[] {
  return [
    ":status",
    String(error.status),
    "date",
    new Date().toUTCString(),
    "content-type",
    "application/json",
    "content-length",
    String(errorText(error).length),
  ];
}
