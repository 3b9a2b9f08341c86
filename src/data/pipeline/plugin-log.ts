/**
 * The log that one plugin writes to, on one worker: at most `LINES_PER_SECOND` lines, whatever they say, since a plugin may
 * write one for every request; then one line with how many were left out, at the end of that second even if nothing more is
 * written. Lines of the level debug are asked for, and all of them are there.
 *
 * Without lines it does nothing and holds nothing.
 */

import type { PluginLog } from "../../plugin/host.ts";

export const LINES_PER_SECOND = 20;

const SECOND_MS = 1000;

export class BoundedPluginLog implements PluginLog {
  readonly #plugin: string;
  readonly #log: PluginLog;
  readonly #now: () => number;
  /** Of the wall clock. */
  #second = 0;
  #lines = 0;
  #leftOut = 0;
  /** Runs while lines are left out. */
  #end: NodeJS.Timeout | null = null;

  /** `now` in milliseconds. */
  constructor(plugin: string, log: PluginLog, now: () => number) {
    this.#plugin = plugin;
    this.#log = log;
    this.#now = now;
  }

  debug(message: string, fields?: object): void {
    this.#log.debug(message, fields);
  }

  info(message: string, fields?: object): void {
    if (this.#hasRoom()) this.#log.info(message, fields);
  }

  warn(message: string, fields?: object): void {
    if (this.#hasRoom()) this.#log.warn(message, fields);
  }

  error(message: string, fields?: object): void {
    if (this.#hasRoom()) this.#log.error(message, fields);
  }

  #hasRoom(): boolean {
    const nowMs = this.#now();
    const second = Math.floor(nowMs / SECOND_MS);
    if (second !== this.#second) {
      this.#tellLeftOut();
      this.#second = second;
      this.#lines = 0;
    }
    if (this.#lines < LINES_PER_SECOND) {
      this.#lines++;
      return true;
    }
    this.#leftOut++;
    this.#end ??= setTimeout(() => this.#tellLeftOut(), SECOND_MS - (nowMs % SECOND_MS)).unref();
    return false;
  }

  #tellLeftOut(): void {
    if (this.#end === null) return;
    clearTimeout(this.#end);
    this.#end = null;
    const leftOut = this.#leftOut;
    this.#leftOut = 0;
    this.#log.warn("lines of a plugin are left out", { plugin: this.#plugin, left_out: leftOut });
  }
}
