/**
 * How many requests of one worker may run on an upstream, and who waits: `limits` of an upstream.
 *
 * A slow upstream with a limit holds so many requests and no more; those beyond wait in order, for a bounded time and in
 * bounded number, and the rest is turned away at once. One object for all versions of an upstream: what runs
 * counts, whatever was edited meanwhile.
 */

import type { LimitSettings } from "../../model/upstream-protection.ts";

/** A request; one that has ended (its client left) waits no longer. */
export interface Enterer {
  readonly ended: boolean;
}

interface Waiter {
  who: Enterer;
  resolve: (isIn: boolean) => void;
  timer: NodeJS.Timeout;
}

export class RequestLimit {
  #settings: LimitSettings;
  readonly #onRefused: () => void;
  readonly #queue: Waiter[] = [];
  #running = 0;

  /** `onRefused` is told of each request that is turned away, at once or after waiting. */
  constructor(settings: LimitSettings, onRefused: () => void) {
    this.#settings = settings;
    this.#onRefused = onRefused;
  }

  get settings(): LimitSettings {
    return this.#settings;
  }

  /** May be replaced at any time. Where there is more room now, it is for those that wait. */
  set settings(settings: LimitSettings) {
    this.#settings = settings;
    while (this.#running < settings.requests && this.#queue.length > 0) {
      this.#running++;
      this.#letIn(this.#queue.shift()!);
    }
  }

  get running(): number {
    return this.#running;
  }

  get waiting(): number {
    return this.#queue.length;
  }

  /** True: the request is in, and `leave` must follow once. False: it is not. A promise of these: it waits. */
  enter(who: Enterer): boolean | Promise<boolean> {
    const { requests, queue, queue_timeout } = this.#settings;
    if (this.#running < requests) {
      this.#running++;
      return true;
    }
    // Who came first leaves first, mostly: clients have their own patience.
    while (this.#queue.length > 0 && this.#queue.length >= queue && this.#queue[0].who.ended)
      this.#dismiss(this.#queue[0]);
    if (this.#queue.length >= queue) {
      this.#onRefused();
      return false;
    }
    return new Promise((resolve) => {
      const waiter: Waiter = {
        who,
        resolve,
        timer: setTimeout(() => this.#giveUp(waiter), queue_timeout * 1000),
      };
      this.#queue.push(waiter);
    });
  }

  /** A request is over; the one that waits for longest takes its place. */
  leave(): void {
    const next = this.#running <= this.#settings.requests ? this.#queue.shift() : undefined;
    if (next === undefined) {
      this.#running--;
      return;
    }
    this.#letIn(next);
  }

  #letIn(waiter: Waiter): void {
    clearTimeout(waiter.timer);
    waiter.resolve(true);
  }

  #giveUp(waiter: Waiter): void {
    if (!waiter.who.ended) this.#onRefused();
    this.#dismiss(waiter);
  }

  #dismiss(waiter: Waiter): void {
    clearTimeout(waiter.timer);
    this.#queue.splice(this.#queue.indexOf(waiter), 1);
    waiter.resolve(false);
  }
}
