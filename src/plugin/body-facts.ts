/** What a plugin that changes the body of an answer must take out of its head. */

import type { HeaderList } from "../lib/headers.ts";

/** Removes coding and validators: they describe a body that is not sent. The length is the engine's. */
export function dropBodyFacts(headers: HeaderList): void {
  headers.delete("content-encoding");
  headers.delete("last-modified");
  headers.delete("etag");
}
