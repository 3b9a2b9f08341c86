/**
 * What was known of unhealthy nodes, in a file beside the data, so that a gateway that is started again
 * within a minute does not send requests to nodes that were down. Older files are not believed.
 *
 * Written aside and renamed, a second after a change and at the end. It is a hint: what cannot be written or
 * read is told in the log and nothing more.
 */

import { readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import type { Log } from "../../lib/log.ts";
import { isUp, withoutGeneration } from "../../shared/health-state.ts";
import type { HealthKey, HealthTable } from "../../shared/health-table.ts";

const MAX_AGE_MS = 60_000;
const DELAY_MS = 1000;

type States = Iterable<{ slot: number; word: number }>;

export class SavedStates {
  readonly #file: string;
  readonly #table: HealthTable;
  readonly #log: Log;
  readonly #now: () => number;
  readonly #words = new Map<string, number>();
  #timer: NodeJS.Timeout | null = null;

  /** `now` in milliseconds since 1970. */
  constructor(file: string, table: HealthTable, log: Log, now: () => number = Date.now) {
    this.#file = file;
    this.#table = table;
    this.#log = log;
    this.#now = now;
    this.#read();
  }

  /** State and counts of a node when the file was written; undefined: nothing was known against it. */
  take(key: HealthKey): number | undefined {
    const name = key.join();
    const word = this.#words.get(name);
    this.#words.delete(name);
    return word;
  }

  writeSoon(states: () => States): void {
    this.#timer ??= setTimeout(() => this.write(states()), DELAY_MS).unref();
  }

  write(states: States): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    const words: Record<string, number> = {};
    for (const { slot, word } of states) {
      if (!isUp(word)) words[this.#table.keyOf(slot).join()] = withoutGeneration(word);
    }
    try {
      if (Object.keys(words).length === 0) rmSync(this.#file, { force: true });
      else {
        writeFileSync(`${this.#file}.new`, JSON.stringify({ at: this.#now(), words }), { mode: 0o600 });
        renameSync(`${this.#file}.new`, this.#file);
      }
    } catch (error) {
      this.#log.warn("the states of nodes cannot be kept", { file: this.#file, error: String(error) });
    }
  }

  #read(): void {
    try {
      const { at, words } = JSON.parse(readFileSync(this.#file, "utf8")) as {
        at: number;
        words: Record<string, number>;
      };
      const ageMs = this.#now() - at;
      if (!(ageMs >= 0 && ageMs <= MAX_AGE_MS)) return;
      for (const [name, word] of Object.entries(words)) {
        if (Number.isInteger(word)) this.#words.set(name, withoutGeneration(word));
      }
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return;
      this.#log.warn("the kept states of nodes cannot be read", { file: this.#file, error: String(error) });
    }
  }
}
