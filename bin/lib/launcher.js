/**
 * The launcher, as nginx's master: holds the listening sockets, keeps one node process running, hands over to a new
 * one at an upgrade. It runs on Node.js 20 or later and has no dependency, so that it can stay for months.
 *
 * Signals: SIGTERM and SIGINT let the node drain and end with 0, a second one ends it at once. SIGHUP reopens log
 * files. SIGUSR2 upgrades: configuration and sources are read as they are now, a new process starts on the same
 * sockets, and when it serves the old one drains; one that fails is given up and the old one goes on.
 *
 * Upgrade, in order: bind what is new; the old node yields control and the data folder (traffic goes on); the new
 * node starts; it is ready; the old one drains. So at no time two processes write to the data folder, and
 * connections to control's ports wait in the kernel meanwhile.
 */

import { resolve } from "node:path";
import { parseArgs } from "node:util";
import { makeDataFolder } from "./data-folder.js";
import { fail } from "./find-node.js";
import { HeldSockets } from "./held-sockets.js";
import { NodeProcess } from "./node-process.js";

/** Exit code of a node that met a mistake of the operator: starting it again would not help. */
const EXIT_FATAL = 78;
const EXIT_USAGE = 2;

/** Restarts of a node process that crashed: the first at once, then with doubling delays. */
const BACK_OFF_BASE_MS = 100;
const BACK_OFF_MAX_MS = 10_000;
const STABLE_MS = 60_000;

/** What an upgrade may take: the old node's control to finish, and the new node to serve. */
const YIELD_TIMEOUT_MS = 15_000;
const READY_TIMEOUT_MS = 120_000;

/** A node that drains ends itself in time; one that cannot is killed this much later. */
const DRAIN_GRACE_MS = 10_000;
/** A node that is told to stop at once gets this long. */
const STOP_GRACE_MS = 1_000;

/** Runs `cardea start` with its arguments until the node has ended; ends the process. */
export async function runLauncher(args) {
  let launcher;
  try {
    launcher = new Launcher(readArguments(args));
  } catch (error) {
    fail(error, EXIT_USAGE);
  }
  // Nobody reads the log any more: no reason to end.
  process.stdout.on("error", () => {});
  process.on("SIGTERM", () => launcher.stop());
  process.on("SIGINT", () => launcher.stop());
  process.on("SIGHUP", () => launcher.reopenLogs());
  process.on("SIGUSR2", () => void launcher.upgrade());
  try {
    process.exit(await launcher.run());
  } catch (error) {
    fail(error, EXIT_FATAL);
  }
}

function readArguments(args) {
  const options = { config: { type: "string", short: "c" }, data: { type: "string", short: "d" } };
  const { values } = parseArgs({ args, options, strict: true, allowPositionals: false });
  const file = values.config ?? process.env.CARDEA_CONFIG;
  const dataFolder = resolve(values.data ?? process.env.CARDEA_DATA ?? "data");
  return { file: file === undefined ? undefined : resolve(file), dataFolder };
}

export class Launcher {
  #options;
  #sockets = new HeldSockets();
  /** What the running node was started with. */
  #plan = null;
  /** The node that serves; null while it is being restarted. */
  #node = null;
  /** All node processes that live: during an upgrade the old, draining and the new, starting one too. */
  #living = new Set();
  #isUpgrading = false;
  #isStopping = false;
  #crashes = 0;
  #restart = null;
  #exit = withResolvers();

  constructor(options) {
    this.#options = options;
  }

  /** Starts the node and ends with the exit code when it has ended for good. Throws when nothing could be started. */
  async run() {
    // Before Node makes it for its compile cache: only the owner may read the keys that will be in it.
    makeDataFolder(this.#options.dataFolder);
    this.#plan = await this.#sockets.prepare(this.#options);
    if (this.#isStopping) return 0;
    this.#startNode();
    return this.#exit.promise;
  }

  /** Drains and ends; the second call does not wait. */
  stop() {
    const isFirst = !this.#isStopping;
    this.#isStopping = true;
    clearTimeout(this.#restart);
    for (const node of this.#living) {
      if (isFirst) this.#retire(node);
      else stopAtOnce(node);
    }
    if (this.#plan !== null && this.#node === null) void this.#exitWith(0);
  }

  reopenLogs() {
    this.#node?.say({ type: "reopen" });
  }

  /** Drains the worker of this slot and starts another on its sockets; ends when that serves. */
  async replaceWorker(slot) {
    this.#node?.say({ type: "replace", slot });
    await this.#node?.hears("replaced", this.#plan.config.supervision.drainTimeoutMs + DRAIN_GRACE_MS);
  }

  /** Ends with whether a new node serves. */
  async upgrade() {
    if (this.#isStopping || this.#isUpgrading || this.#node === null || !this.#node.isReady) {
      say("warn", "an upgrade is not possible now: the node is starting, stopping or in an upgrade");
      return false;
    }
    const old = this.#node;
    this.#isUpgrading = true;
    let plan = null;
    try {
      plan = await this.#sockets.prepare(this.#options);
      await this.#handOver(old, plan);
      return true;
    } catch (error) {
      if (plan !== null) this.#sockets.close(plan.added);
      if (this.#isStopping) return false;
      say("error", "the upgrade is given up, the old node goes on", { error: error.message });
      if (this.#node === null) this.#startNode();
      else old.say({ type: "resume" });
      return false;
    } finally {
      this.#isUpgrading = false;
    }
  }

  async #handOver(old, plan) {
    old.say({ type: "yield" });
    if (!(await old.hears("yielded", YIELD_TIMEOUT_MS)) && this.#node === old) {
      throw new Error("the old node did not let go of control");
    }
    if (this.#isStopping) throw new Error("the node is told to stop");
    const next = new NodeProcess(plan, this.#options.dataFolder, this.#sockets, true);
    this.#watch(next);
    const timer = setTimeout(() => this.#retire(next), READY_TIMEOUT_MS);
    const isReady = await next.ready;
    clearTimeout(timer);
    if (!isReady || this.#isStopping) {
      this.#retire(next);
      const { code, signal } = await next.ended;
      throw new Error(`the new node ended with ${signal ?? code} before it was ready`);
    }
    say("info", "the new node serves, the old one drains", { old: old.pid, new: next.pid });
    this.#node = next;
    this.#plan = plan;
    this.#retire(old);
    void old.ended.then(() => {
      // Not before: the old workers still take what waits in sockets that are not wanted any more.
      if (!this.#isUpgrading) this.#sockets.keepOnly(this.#plan.sockets);
      say("info", "the old node has ended", { old: old.pid });
    });
  }

  #startNode() {
    this.#restart = null;
    this.#node = new NodeProcess(this.#plan, this.#options.dataFolder, this.#sockets, false);
    this.#watch(this.#node);
  }

  #watch(node) {
    this.#living.add(node);
    void node.ended.then((end) => {
      this.#living.delete(node);
      if (node === this.#node) this.#onEnd(node, end);
    });
  }

  /** Lets a node drain; kills it if it cannot. */
  #retire(node) {
    node.say({ type: "drain" });
    const graceMs = this.#plan.config.supervision.drainTimeoutMs + DRAIN_GRACE_MS;
    setTimeout(() => node.kill(), graceMs).unref();
  }

  #onEnd(node, { code, signal, error }) {
    this.#node = null;
    const isOnPurpose = this.#isStopping || node.endingCode !== null || code === 0 || code === EXIT_FATAL;
    if (isOnPurpose) {
      this.#isStopping = true;
      for (const other of this.#living) this.#retire(other);
      void this.#exitWith(node.endingCode ?? code ?? 1);
      return;
    }
    const ranMs = Date.now() - node.startedAt;
    this.#crashes = ranMs >= STABLE_MS ? 1 : this.#crashes + 1;
    const delayMs =
      this.#crashes === 1 ? 0 : Math.min(BACK_OFF_MAX_MS, BACK_OFF_BASE_MS * 2 ** (this.#crashes - 2));
    say("error", "the node process died and is started again", {
      cause: error?.message ?? signal ?? code,
      delayMs,
    });
    // During an upgrade the new process takes over when it is ready, or a restart follows when it is given up.
    if (!this.#isUpgrading) this.#restart = setTimeout(() => this.#startNode(), delayMs);
  }

  async #exitWith(code) {
    await Promise.all([...this.#living].map((node) => node.ended));
    this.#exit.resolve(code);
  }
}

/** A node whose loop hangs cannot hear it and is killed. */
function stopAtOnce(node) {
  node.say({ type: "stop" });
  setTimeout(() => node.kill(), STOP_GRACE_MS).unref();
}

/** A line in the shape of the node's own log (src/lib/log.ts). */
function say(level, message, fields = {}) {
  const line = {
    level,
    time: new Date().toISOString(),
    role: "launcher",
    pid: process.pid,
    ...fields,
    message,
  };
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

/** Node.js 20 has no Promise.withResolvers. */
function withResolvers() {
  const made = {};
  made.promise = new Promise((resolve, reject) => Object.assign(made, { resolve, reject }));
  return made;
}
