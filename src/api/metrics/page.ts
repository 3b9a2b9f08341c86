/**
 * The metrics page as a whole, for whoever asks: its own port, or a worker whose client asked by `public-api`.
 * Rendered anew each time, one at a time; too many at once are turned away.
 */

import type { SharedMemory } from "../../shared/shared-memory.ts";
import { type MetricsFacts, metricsContentType, metricsFormat, renderMetrics } from "./exposition.ts";

export interface RenderedPage {
  status: number;
  contentType: string;
  body: Buffer;
}

/** Askers that wait for the page that is being rendered. */
const QUEUE_LIMIT = 16;

export class MetricsPage {
  readonly #shared: SharedMemory;
  readonly #facts: () => MetricsFacts;
  #running: Promise<unknown> = Promise.resolve();
  #waiting = 0;

  constructor(shared: SharedMemory, facts: () => MetricsFacts) {
    this.#shared = shared;
    this.#facts = facts;
  }

  /** Never rejects; `accept` as the client sent it. 503: too many ask. 500: it could not be rendered. */
  render(accept: string | undefined): Promise<RenderedPage> {
    if (this.#waiting >= QUEUE_LIMIT) return Promise.resolve(plain(503, "too many ask for the metrics\n"));
    this.#waiting++;
    const page = this.#running.then(() => this.#renderNow(accept)).finally(() => this.#waiting--);
    this.#running = page;
    return page;
  }

  async #renderNow(accept: string | undefined): Promise<RenderedPage> {
    const format = metricsFormat(accept);
    try {
      const chunks: Buffer[] = [];
      for await (const chunk of renderMetrics(this.#shared, this.#facts(), format)) chunks.push(chunk);
      return { status: 200, contentType: metricsContentType(format), body: Buffer.concat(chunks) };
    } catch (error) {
      return plain(500, `the metrics could not be rendered: ${String(error)}\n`);
    }
  }
}

function plain(status: number, text: string): RenderedPage {
  return { status, contentType: "text/plain", body: Buffer.from(text) };
}
