/** What the gateway itself answers: status texts and bodies in APISIX's form (`{"error_msg":"404 Route Not Found"}`). */

import type { Answer, AnswerBody } from "../../plugin/exchange.ts";

export const NOT_FOUND: Answer = failure(404, "404 Route Not Found");
export const BAD_REQUEST: Answer = failure(400, "400 Bad Request");
export const INTERNAL_ERROR: Answer = failure(500, "500 Internal Server Error");
export const BAD_GATEWAY: Answer = failure(502, "502 Bad Gateway");
export const GATEWAY_TIMEOUT: Answer = failure(504, "504 Gateway Time-out");
export const DEADLINE_EXCEEDED: Answer = failure(504, "deadline exceeded");
export const TOO_LARGE: Answer = failure(413, "413 Request Entity Too Large");
export const MISDIRECTED: Answer = failure(421, "421 Misdirected Request");
export const NO_UPSTREAM: Answer = failure(503, "503 Service Temporarily Unavailable");
export const NO_NODE: Answer = failure(503, "503 Service Temporarily Unavailable: no valid upstream node");
export const OVERLOADED: Answer = {
  ...failure(503, "503 Service Temporarily Unavailable: overloaded"),
  headers: { "Retry-After": "1" },
};

function failure(status: number, message: string): Answer {
  return { status, body: { error_msg: message }, headers: undefined };
}

/** Bytes of an answer's body: an object becomes JSON and, as APISIX does it, a line. */
export function bodyBytes(body: AnswerBody | undefined): Buffer | string {
  if (body === undefined) return "";
  if (typeof body === "string" || Buffer.isBuffer(body)) return body;
  return `${JSON.stringify(body)}\n`;
}

/** Content type that an answer has when nobody set one. */
export function contentTypeOf(body: AnswerBody | undefined): string {
  return typeof body === "object" && !Buffer.isBuffer(body)
    ? "application/json"
    : "text/plain; charset=utf-8";
}
