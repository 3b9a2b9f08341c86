/**
 * One node process (src/supervisor/main.ts on the right Node.js), as the launcher sees it.
 *
 * It gives fresh duplicates of the held sockets whenever a thread of the process asks. What the launcher does when
 * the process is ready or has ended is the launcher's.
 */

import { fork } from "node:child_process";
import { readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { findNode, modulePath, nodeEnvironment } from "./find-node.js";

/** A few versions of all modules that the threads load. */
const COMPILE_CACHE_ENTRIES = 5000;

export class NodeProcess {
  startedAt = Date.now();
  isReady = false;
  /** Exit code that it announced: it ends on purpose. */
  endingCode = null;
  /** Ends with `{ code, signal }`; never rejects. */
  ended;
  /** Ends with true when all its threads serve, with false when it ended before. */
  ready;
  #child;
  #waiting = new Map();

  /** `isUpgrade`: the node that serves goes on if this one cannot. */
  constructor({ config, warnings, sockets }, dataFolder, held, isUpgrade) {
    const env = nodeEnvironment();
    env.NODE_COMPILE_CACHE ??= compileCache(dataFolder);
    this.#child = fork(modulePath("supervisor/main"), [], { execPath: findNode(), execArgv: [], env });
    this.ended = new Promise((resolve) => {
      this.#child.once("error", (error) => resolve({ code: 1, signal: null, error }));
      this.#child.once("exit", (code, signal) => resolve({ code, signal }));
    });
    const ready = new Promise((resolve) => this.#waiting.set("ready", resolve));
    this.ready = Promise.race([ready.then(() => true), this.ended.then(() => false)]);
    this.#child.on("message", (message) => this.#onMessage(message, held));
    this.say({ type: "start", config, warnings, dataFolder, sockets, isUpgrade });
  }

  get pid() {
    return this.#child.pid;
  }

  say(message, handle) {
    if (!this.#child.connected) return;
    this.#child.send(message, handle, {}, () => {
      // It ended meanwhile: `ended` tells.
    });
  }

  /** Ends with whether the process has said so within the time. */
  async hears(type, timeoutMs) {
    let timer;
    const said = new Promise((resolve) => {
      this.#waiting.set(type, () => resolve(true));
      timer = setTimeout(resolve, timeoutMs, false);
    });
    const heard = await Promise.race([said, this.ended.then(() => false)]);
    clearTimeout(timer);
    return heard;
  }

  kill() {
    this.#child.kill("SIGKILL");
  }

  #onMessage(message, held) {
    switch (message.type) {
      case "take": {
        const handle = held.get(message.key);
        this.say({ type: "socket", request: message.request, held: handle !== null }, handle ?? undefined);
        return;
      }
      case "ready":
        this.isReady = true;
        break;
      case "ending":
        this.endingCode = message.code;
        break;
    }
    this.#waiting.get(message.type)?.(message);
    this.#waiting.delete(message.type);
  }
}

/**
 * Folder of Node's compile cache: types are stripped once and not in every thread, which costs each 9 MB and 40 ms
 * more. Node never removes what changed sources leave behind, so it begins anew when it has grown.
 */
function compileCache(dataFolder) {
  const folder = join(dataFolder, "compile-cache");
  try {
    const entries = readdirSync(folder).flatMap((version) => readdirSync(join(folder, version)));
    if (entries.length > COMPILE_CACHE_ENTRIES) rmSync(folder, { recursive: true, force: true });
  } catch {
    // There is none yet, or it cannot be read: Node does without it then.
  }
  return folder;
}
