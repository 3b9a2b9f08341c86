/**
 * The node process's end of the channel to its launcher: messages both ways, and sockets as answers to requests.
 */

import type { FromNode, ToNode } from "./protocol.ts";
import type { RawHandle } from "./sockets.ts";

/** A thread that waits for its socket serves nobody: rather ask again, as a restart does. */
const TAKE_TIMEOUT_MS = 10_000;

export class LauncherLink {
  readonly #waiting = new Map<number, (handle: RawHandle | null) => void>();
  #requests = 0;

  /** `onMessage` gets everything but the answers to `take`; `onLost`: the launcher is gone. */
  constructor(onMessage: (message: Exclude<ToNode, { type: "socket" }>) => void, onLost: () => void) {
    process.on("message", (message: ToNode, handle: unknown) => {
      if (message.type === "socket") this.#answer(message.request, (handle ?? null) as RawHandle | null);
      else onMessage(message);
    });
    process.once("disconnect", () => {
      for (const resolve of this.#waiting.values()) resolve(null);
      this.#waiting.clear();
      onLost();
    });
  }

  /** A fresh duplicate of the socket with this key; null when the launcher has none, is gone or does not answer. */
  take(key: string): Promise<RawHandle | null> {
    if (!process.connected) return Promise.resolve(null);
    const request = ++this.#requests;
    return new Promise((resolve) => {
      const timer = setTimeout(() => this.#answer(request, null), TAKE_TIMEOUT_MS);
      this.#waiting.set(request, (handle) => {
        clearTimeout(timer);
        resolve(handle);
      });
      void this.say({ type: "take", request, key });
    });
  }

  /** Ends when the message has left; a launcher that is gone hears nothing, and `onLost` says so. */
  say(message: FromNode): Promise<void> {
    return new Promise((resolve) => {
      if (process.connected) process.send!(message, undefined, {}, () => resolve());
      else resolve();
    });
  }

  #answer(request: number, handle: RawHandle | null): void {
    const resolve = this.#waiting.get(request);
    this.#waiting.delete(request);
    // Nobody waits any more.
    if (resolve === undefined) handle?.close();
    else resolve(handle);
  }
}
