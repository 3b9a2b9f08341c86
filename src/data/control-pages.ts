/**
 * Pages that only control can make, for clients of a worker: asked for over the worker's port, answered when
 * control has time. Traffic never depends on it: without control, or too late, the answer is 504.
 */

import type { HostPage } from "../plugin/host.ts";
import type { PageMessage, WorkerToControl } from "../shared/messages.ts";

const TIMEOUT_MS = 10_000;

interface Waiting {
  resolve: (page: HostPage) => void;
  timer: NodeJS.Timeout;
}

export class ControlPages {
  /** Set while there is a port to control. */
  send: ((message: WorkerToControl) => void) | null = null;
  readonly #waiting = new Map<number, Waiting>();
  #requests = 0;

  /** Never rejects. */
  metrics(accept: string | undefined): Promise<HostPage> {
    const { send } = this;
    if (send === null) return Promise.resolve(LATE);
    const request = ++this.#requests;
    return new Promise((resolve) => {
      const timer = setTimeout(() => this.#end(request, LATE), TIMEOUT_MS);
      this.#waiting.set(request, { resolve, timer });
      send({ type: "metrics", request, accept });
    });
  }

  take({ request, status, contentType, body }: PageMessage): void {
    this.#end(request, {
      status,
      contentType,
      body: Buffer.from(body.buffer, body.byteOffset, body.byteLength),
    });
  }

  #end(request: number, page: HostPage): void {
    const waiting = this.#waiting.get(request);
    if (waiting === undefined) return;
    this.#waiting.delete(request);
    clearTimeout(waiting.timer);
    waiting.resolve(page);
  }
}

const LATE: HostPage = {
  status: 504,
  contentType: "text/plain",
  body: Buffer.from("control does not answer\n"),
};
