/**
 * Child processes of a benchmark: started on a core, ended by their process id whatever happens.
 *
 * Every process that was started here, and every process below it, is gone when `stopAll` has resolved. The
 * ways out of the benchmark (the end, an error, SIGINT, SIGTERM) all go through it; should the benchmark
 * itself leave without, the children are killed on `exit`.
 */

import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { createWriteStream } from "node:fs";
import { treeOf } from "./measure.ts";

const STOP_TIMEOUT_MS = 15_000;
const POLL_MS = 20;

export interface StartOptions {
  /** Cores that the process and its children may use, as taskset takes them ("0", "0,1"). Absent: any. */
  cores?: string;
  env?: NodeJS.ProcessEnv;
  /** What the process says goes there. */
  logFile: string;
}

export class Processes {
  readonly #taskset: string;
  readonly #running = new Set<ChildProcess>();

  constructor(taskset: string) {
    this.#taskset = taskset;
    process.once("exit", () => {
      for (const child of this.#running) for (const pid of treeOf(child.pid!)) kill(pid, "SIGKILL");
    });
  }

  start(command: string, args: readonly string[], { cores, env, logFile }: StartOptions): ChildProcess {
    const whole = cores === undefined ? [command, ...args] : [this.#taskset, "-c", cores, command, ...args];
    const log = createWriteStream(logFile, { flags: "a" });
    const child = spawn(whole[0], whole.slice(1), {
      env: env ?? process.env,
      stdio: ["ignore", "pipe", "pipe"],
    });
    child.stdout.pipe(log, { end: false });
    child.stderr.pipe(log, { end: false });
    this.#running.add(child);
    child.once("exit", () => {
      this.#running.delete(child);
      log.end();
    });
    child.once("error", () => this.#running.delete(child));
    return child;
  }

  /** SIGTERM, and SIGKILL for whatever of the tree is left when the time is over. */
  async stop(child: ChildProcess): Promise<void> {
    const tree = treeOf(child.pid!);
    if (child.exitCode === null && child.signalCode === null) {
      const ended = once(child, "exit");
      kill(child.pid!, "SIGTERM");
      const late = setTimeout(() => {
        for (const pid of tree) kill(pid, "SIGKILL");
      }, STOP_TIMEOUT_MS);
      await ended;
      clearTimeout(late);
    }
    const giveUpAt = performance.now() + STOP_TIMEOUT_MS;
    while (tree.some(isAlive) && performance.now() < giveUpAt) await pause(POLL_MS);
    for (const pid of tree) if (isAlive(pid)) kill(pid, "SIGKILL");
  }

  async stopAll(): Promise<void> {
    await Promise.all([...this.#running].map((child) => this.stop(child)));
  }
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms);
  });
}

function kill(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // it is gone already, which is what was wanted
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
