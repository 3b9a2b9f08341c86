/**
 * Is a request body coming fast enough? Two rules: something arrives within `bodyTimeoutMs`, and once that
 * much time was spent the mean rate is at least `minBodyBytesPerSecond` (slow bodies sent byte by byte pass
 * the first rule for ever). Time in which we asked the client to wait is not its fault and does not count.
 */

import type { HttpConfig } from "../../config/static-config.ts";

const RATE_CHECK_MS = 1000;

export type PaceLimits = Pick<HttpConfig, "bodyTimeoutMs" | "minBodyBytesPerSecond">;

export class BodyPace {
  #bytes = 0;
  #spentMs = 0;
  /** Since when the client is expected to send; -1 while paused. */
  #sinceMs = -1;
  #lastMs = 0;

  begin(nowMs: number): void {
    this.#bytes = 0;
    this.#spentMs = 0;
    this.#sinceMs = nowMs;
    this.#lastMs = nowMs;
  }

  received(bytes: number, nowMs: number): void {
    this.#bytes += bytes;
    this.#lastMs = nowMs;
  }

  pause(nowMs: number): void {
    if (this.#sinceMs !== -1) this.#spentMs += nowMs - this.#sinceMs;
    this.#sinceMs = -1;
  }

  resume(nowMs: number): void {
    if (this.#sinceMs !== -1) return;
    this.#sinceMs = nowMs;
    this.#lastMs = nowMs;
  }

  get isPaused(): boolean {
    return this.#sinceMs === -1;
  }

  isTooSlow(nowMs: number, limits: PaceLimits): boolean {
    if (this.#sinceMs === -1) return false;
    if (nowMs - this.#lastMs >= limits.bodyTimeoutMs) return true;
    const spentMs = this.#spentMs + nowMs - this.#sinceMs;
    return spentMs >= limits.bodyTimeoutMs && this.#bytes * 1000 < limits.minBodyBytesPerSecond * spentMs;
  }

  nextCheckMs(nowMs: number, limits: PaceLimits): number {
    return nowMs + Math.min(RATE_CHECK_MS, limits.bodyTimeoutMs);
  }
}
