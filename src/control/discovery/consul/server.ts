/**
 * One agent or server of Consul: what it lists is fetched whenever one of its indexes moves. Changes are waited for with
 * blocking queries (https://developer.hashicorp.com/consul/api-docs/features/blocking), whose answers say no more than
 * that something changed; without `keepalive` it is looked at every few seconds.
 */

import type { ConsulDiscoveryConfig } from "../../../config/discovery.ts";
import type { RegistryClient } from "../registry-client.ts";
import { retryMs, Rounds } from "../rounds.ts";

/** Even if no index moves, everything is fetched anew so often. */
const LATEST_MS = 300_000;
/** Time between two questions of a watch, more of it with each change that comes at once: an index that runs on is not chased. */
const WATCH_PAUSE_MS = 100;
const LONGEST_WATCH_PAUSE_MS = 1000;
/** In a Consul in which something moves all the time, a round of many questions is not begun anew each second. */
const PAUSE_PER_QUESTION_MS = 5;
const LONGEST_BUSY_PAUSE_MS = 15_000;

export interface ConsulServerParts {
  /** "http://host:port" */
  server: string;
  /** Below /v1/, with a query or not. */
  watched: readonly string[];
  config: ConsulDiscoveryConfig;
  client: RegistryClient;
  /** Fetches what is needed and gives the number of its questions; throws when it cannot. */
  fetch(server: ConsulServer, signal: AbortSignal): Promise<number>;
  onFailure(server: string, reason: string): void;
  /** A blocking query ended, and nothing has changed. */
  onQuiet(): void;
}

export class ConsulServer {
  readonly server: string;
  readonly #parts: ConsulServerParts;
  readonly #rounds: Rounds;
  readonly #end = new AbortController();
  /** Of the last round. */
  #questions = 0;

  constructor(parts: ConsulServerParts) {
    this.#parts = parts;
    this.server = parts.server;
    const { config } = parts;
    this.#rounds = new Rounds({
      run: async (signal) => {
        this.#questions = await parts.fetch(this, signal);
      },
      pauseMs: config.waitsForChanges ? LATEST_MS : config.intervalMs,
      onFailure: (reason) => parts.onFailure(this.server, reason),
    });
  }

  start(): void {
    void this.#rounds.now();
    if (!this.#parts.config.waitsForChanges) return;
    for (const path of this.#parts.watched) void this.#watch(path);
  }

  /** Ends with a round that began after the call. */
  refresh(): Promise<void> {
    return this.#rounds.now();
  }

  /** Null: 404, which is what Consul says of keys of which there are none. */
  get(path: string, signal: AbortSignal, maxBytes?: number): Promise<unknown> {
    const { client, config } = this.#parts;
    const { timeouts } = config;
    return client.askJson({
      url: this.#url(path),
      headers: this.#headers(),
      timeouts,
      accepted: 404,
      ...(maxBytes !== undefined && { maxBytes }),
      signal,
    });
  }

  close(): void {
    this.#end.abort();
    this.#rounds.close();
  }

  /** Each answer with another index begins a round. Failures of the rounds themselves are told; here they only slow down. */
  async #watch(path: string): Promise<void> {
    const { signal } = this.#end;
    let index = 0;
    let failures = 0;
    let changes = 0;
    while (!signal.aborted) {
      let pauseMs = WATCH_PAUSE_MS;
      const begun = performance.now();
      try {
        const next = await this.#indexAfter(path, index, signal);
        // The first one, too: what changed while it was asked may have been missed by a round that ran.
        if (next === index) this.#parts.onQuiet();
        else void this.#rounds.now();
        changes = performance.now() - begun < LONGEST_WATCH_PAUSE_MS ? changes + 1 : 1;
        pauseMs = watchPauseMs(changes, this.#questions);
        // An index that goes back is that of a Consul that was set up anew.
        index = next < index ? 0 : next;
        failures = 0;
      } catch (error) {
        if (signal.aborted) return;
        if (failures === 0) this.#parts.onFailure(this.server, (error as Error).message);
        pauseMs = retryMs(failures++, Math.random);
        // Whatever happened meanwhile is told at once when it answers again.
        index = 0;
      }
      await pause(pauseMs, signal);
    }
  }

  async #indexAfter(path: string, index: number, signal: AbortSignal): Promise<number> {
    const { client, config } = this.#parts;
    const { connectMs, readMs } = config.timeouts;
    const url = this.#url(path);
    if (index > 0) {
      url.searchParams.set("index", String(index));
      url.searchParams.set("wait", `${Math.ceil(config.waitMs / 1000)}s`);
    }
    // Consul adds up to a sixteenth of the wait, so that not all come at once.
    const timeouts = { connectMs, readMs: readMs + (index > 0 ? config.waitMs * (1 + 1 / 16) : 0) };
    const question = { url, headers: this.#headers(), timeouts, accepted: 404, isBodyDropped: true, signal };
    const { headers } = await client.ask(question);
    const next = Number(headers["x-consul-index"]);
    if (!Number.isSafeInteger(next) || next <= 0)
      throw new Error(`${url.host}: an answer without X-Consul-Index`);
    return next;
  }

  #url(path: string): URL {
    return new URL(`/v1/${path}`, this.server);
  }

  #headers(): Record<string, string> {
    const { token } = this.#parts.config;
    return token === "" ? {} : { "x-consul-token": token };
  }
}

/** `changes`: in a row, each at once after the one before; `questions`: of a round. */
export function watchPauseMs(changes: number, questions: number): number {
  const busyMs = Math.min(questions * PAUSE_PER_QUESTION_MS, LONGEST_BUSY_PAUSE_MS);
  return Math.min(changes * WATCH_PAUSE_MS, Math.max(LONGEST_WATCH_PAUSE_MS, busyMs));
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const end = (): void => {
      clearTimeout(timer);
      signal.removeEventListener("abort", end);
      resolve();
    };
    const timer = setTimeout(end, ms);
    timer.unref();
    signal.addEventListener("abort", end);
  });
}
