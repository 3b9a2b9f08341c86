/** The body of one answer, gathered up to a limit, then decoded and filtered. */

import type { PluginLog } from "../../plugin/index.ts";
import type { BodyFilters } from "./body-filters.ts";

export class BodyInHand {
  readonly #decode: (body: Buffer, limitBytes: number) => Buffer;
  readonly #limitBytes: number;
  readonly #chunks: Buffer[] = [];
  #bytes = 0;

  /** What comes beyond `limitBytes` is dropped; 0: everything is. */
  constructor(decode: (body: Buffer, limitBytes: number) => Buffer, limitBytes: number) {
    this.#decode = decode;
    this.#limitBytes = limitBytes;
  }

  push(chunk: Buffer): void {
    const room = this.#limitBytes - this.#bytes;
    if (room <= 0 || chunk.length === 0) return;
    // A copy: chunks may be views of a buffer that is read into again.
    const kept = Buffer.from(chunk.length > room ? chunk.subarray(0, room) : chunk);
    this.#chunks.push(kept);
    this.#bytes += kept.length;
  }

  /** The whole body through `filters`. One that is not what its coding says, or too long decoded, stays as it is. */
  filtered(filters: BodyFilters, log: PluginLog): Buffer {
    const body = this.#chunks.length === 1 ? this.#chunks[0] : Buffer.concat(this.#chunks, this.#bytes);
    if (body.length === 0) return filters.apply(body);
    let decoded: Buffer;
    try {
      decoded = this.#decode(body, this.#limitBytes);
    } catch (error) {
      log.error("filters may not work as expected", { plugin: "response-rewrite", error: String(error) });
      return body;
    }
    return filters.apply(decoded);
  }
}
