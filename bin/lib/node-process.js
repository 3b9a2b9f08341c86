/**
 * One node process (src/supervisor/main.ts on the right Node.js), as the launcher sees it.
 *
 * It gives fresh duplicates of the held sockets whenever a thread of the process asks. What the launcher does when
 * the process is ready or has ended is the launcher's.
 */

import { fork } from "node:child_process";
import { findNode, modulePath, NODE_FLAGS, nodeEnvironment } from "./find-node.js";

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
    const env = nodeEnvironment(dataFolder);
    const options = { execPath: findNode(), execArgv: NODE_FLAGS, env };
    this.#child = fork(modulePath("supervisor/main"), [], options);
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
