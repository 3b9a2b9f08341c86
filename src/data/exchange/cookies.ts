/** Reads one cookie out of the request's `Cookie` fields (RFC 6265 5.4), without parsing the others. */

import type { HeaderList } from "../../lib/headers.ts";

/** Value of the cookie `name` (case sensitive, as sent, quotes kept); the first one wins. */
export function readCookie(headers: HeaderList, name: string): string | undefined {
  const text = headers.joined("cookie");
  if (text === undefined) return undefined;
  let at = 0;
  while (at < text.length) {
    while (text.charCodeAt(at) === 0x20) at++;
    let end = text.indexOf(";", at);
    if (end === -1) end = text.length;
    if (text.charCodeAt(at + name.length) === 0x3d && text.startsWith(name, at)) {
      return text.slice(at + name.length + 1, end).trimEnd();
    }
    at = end + 1;
  }
  return undefined;
}
