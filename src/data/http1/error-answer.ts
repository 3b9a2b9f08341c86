/** What the protocol engine itself says to a client: one small JSON answer per row of `ERRORS`, then the end. */

import { reasonPhrase } from "../../lib/status-codes.ts";
import type { ProtocolError } from "./errors.ts";

/** Whole text of the answer; the body has the shape of APISIX's own errors. */
export function errorAnswerText(error: ProtocolError): string {
  const body = `${JSON.stringify({ error_msg: error.message })}\n`;
  return (
    `HTTP/1.1 ${error.status} ${reasonPhrase(error.status)}\r\n` +
    `Date: ${new Date().toUTCString()}\r\n` +
    "Content-Type: application/json\r\n" +
    `Content-Length: ${body.length}\r\n` +
    `Connection: close\r\n\r\n${body}`
  );
}
