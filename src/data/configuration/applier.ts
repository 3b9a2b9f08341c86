/**
 * Brings what control publishes into the worker's configuration, without ever holding the event loop for long.
 *
 * Batches are applied in order. A small one is applied in one go, so that no request sees half of it; a large
 * one (a start, a resync) item by item in slices of `SLICE_MS`, with requests in between. Either way the
 * revision is acknowledged when the last item stands. A snapshot is applied as a difference: what is already
 * the same is not touched, and what it does not hold is removed.
 */

import type { ConfigurationMessage } from "../../shared/messages.ts";
import type { Configuration } from "./configuration.ts";
import { ConfigurationReader, KINDS } from "../../shared/configuration-bytes.ts";

/** Batches up to this size are applied at once: about a millisecond of work. */
export const ATOMIC_ITEMS = 128;
const SLICE_MS = 1;

export class Applier {
  readonly #configuration: Configuration;
  readonly #queue: ConfigurationMessage[] = [];
  #reader: ConfigurationReader | null = null;
  #next = 0;
  #isScheduled = false;
  onApplied: (revision: number) => void = () => undefined;
  /** The item was left out; the rest of its batch goes on. */
  onRefused: (kind: string, id: string, reason: string) => void = () => undefined;

  constructor(configuration: Configuration) {
    this.#configuration = configuration;
  }

  take(message: ConfigurationMessage): void {
    this.#queue.push(message);
    if (!this.#isScheduled) this.#run();
  }

  #run = (): void => {
    this.#isScheduled = false;
    const until = performance.now() + SLICE_MS;
    for (;;) {
      const message = this.#queue[0];
      if (message === undefined) return;
      if (this.#reader === null) this.#begin(message);
      const reader = this.#reader!;
      const atomic = reader.count <= ATOMIC_ITEMS;
      while (this.#next < reader.count && (atomic || performance.now() < until))
        this.#apply(reader, this.#next++);
      if (this.#next === reader.count) {
        this.#reader = null;
        this.#queue.shift();
        this.onApplied(message.revision);
      }
      if (this.#queue.length > 0 && performance.now() >= until) {
        this.#isScheduled = true;
        setImmediate(this.#run);
        return;
      }
    }
  };

  #begin(message: ConfigurationMessage): void {
    this.#reader = new ConfigurationReader(message.bytes);
    this.#next = 0;
    if (message.type === "snapshot") this.#removeMissing(this.#reader);
  }

  /** In reverse order of kinds, so that nothing is removed before what refers to it. */
  #removeMissing(reader: ConfigurationReader): void {
    const present = new Set<string>();
    for (let i = 0; i < reader.count; i++) {
      const item = reader.item(i);
      present.add(`${item.kind}/${item.id}`);
    }
    for (const kind of [...KINDS].reverse()) {
      for (const id of this.#configuration.ids(kind)) {
        if (!present.has(`${kind}/${id}`)) this.#configuration.remove(kind, id);
      }
    }
  }

  #apply(reader: ConfigurationReader, index: number): void {
    const { kind, id, bytes } = reader.item(index);
    try {
      if (bytes === null) this.#configuration.remove(kind, id);
      else if (!this.#configuration.holds(kind, id, bytes)) this.#configuration.put(kind, id, bytes);
    } catch (error) {
      this.onRefused(kind, id, error instanceof Error ? error.message : String(error));
    }
  }
}
