/**
 * Blanks at the ends of a field's value, which are no part of it (RFC 9110 5.5). HTTP/2 has none there (RFC 9113 8.2.1), but clients
 * and servers of gRPC send what their programs say. nghttp2 would take such a field out and go on without it, so it is told
 * to leave them; over HTTP/1.1 they go, and so they do here.
 */

import type { ServerSessionOptions } from "node:http2";
import { SPACE, TAB } from "../http1/characters.ts";

/** Of a session whose values go through `withoutBlanks`. */
export const WITH_BLANKS: Pick<ServerSessionOptions, "strictFieldWhitespaceValidation"> = {
  strictFieldWhitespaceValidation: false,
};

export function withoutBlanks(value: string): string {
  let end = value.length;
  if (end === 0 || !(isBlank(value.charCodeAt(0)) || isBlank(value.charCodeAt(end - 1)))) return value;
  let start = 0;
  while (start < end && isBlank(value.charCodeAt(start))) start++;
  while (end > start && isBlank(value.charCodeAt(end - 1))) end--;
  return value.slice(start, end);
}

function isBlank(code: number): boolean {
  return code === SPACE || code === TAB;
}
