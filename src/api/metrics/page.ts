/**
 * The metrics page for whoever asks, rendered anew each time; too many askers at once are turned away.
 *
 * Its own port gets it as a stream: a page of many series is some 100 MB, of which a buffer or two exist at a time. A
 * worker whose client asked by `public-api` gets it as a whole, up to `WHOLE_LIMIT_BYTES`.
 */

import type { SharedMemory } from "../../shared/shared-memory.ts";
import type { MetricsFacts } from "../../control/fact-families.ts";
import { metricsContentType, metricsFormat, renderMetrics } from "./exposition.ts";
import { Turns } from "./pace.ts";

export interface RenderedPage {
  status: number;
  contentType: string;
  body: Buffer;
}

export interface StreamedPage {
  contentType: string;
  /** The bytes of a chunk may be another's as soon as the next one is asked for. Throws what goes wrong on the way. */
  chunks: AsyncGenerator<Buffer, void, void>;
}

/** Askers at a time. */
const ASKER_LIMIT = 16;
const WHOLE_LIMIT_BYTES = 64 * 1024 ** 2;

export class MetricsPage {
  readonly #shared: SharedMemory;
  readonly #facts: () => MetricsFacts;
  readonly #turns = new Turns();
  readonly #wholeLimitBytes: number;
  #askers = 0;

  constructor(shared: SharedMemory, facts: () => MetricsFacts, wholeLimitBytes = WHOLE_LIMIT_BYTES) {
    this.#shared = shared;
    this.#facts = facts;
    this.#wholeLimitBytes = wholeLimitBytes;
  }

  /** The page in chunks, for one loop to go through; null: too many ask. `accept` as it was sent. */
  stream(accept: string | undefined): StreamedPage | null {
    if (this.#askers >= ASKER_LIMIT) return null;
    const format = metricsFormat(accept);
    return { contentType: metricsContentType(format), chunks: this.#render(format) };
  }

  /** The whole page. Never rejects. 503: too many ask, or it is too large. 500: it could not be rendered. */
  async render(accept: string | undefined): Promise<RenderedPage> {
    const page = this.stream(accept);
    if (page === null) return tooMany();
    try {
      const copies: Buffer[] = [];
      let bytes = 0;
      for await (const chunk of page.chunks) {
        bytes += chunk.length;
        if (bytes > this.#wholeLimitBytes) return tooLarge(this.#wholeLimitBytes);
        copies.push(Buffer.from(chunk));
      }
      return { status: 200, contentType: page.contentType, body: Buffer.concat(copies) };
    } catch (error) {
      return failed(error);
    }
  }

  async *#render(format: ReturnType<typeof metricsFormat>): AsyncGenerator<Buffer, void, void> {
    this.#askers++;
    try {
      yield* renderMetrics(this.#shared, this.#facts(), format, this.#turns);
    } finally {
      this.#askers--;
    }
  }
}

export function tooMany(): RenderedPage {
  return plain(503, "too many ask for the metrics\n");
}

export function failed(error: unknown): RenderedPage {
  return plain(500, `the metrics could not be rendered: ${String(error)}\n`);
}

function tooLarge(limitBytes: number): RenderedPage {
  return plain(503, `the metrics page is larger than ${limitBytes} bytes: read it from the metrics port\n`);
}

function plain(status: number, text: string): RenderedPage {
  return { status, contentType: "text/plain", body: Buffer.from(text) };
}
