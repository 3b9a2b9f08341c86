/**
 * A node for the process tests: the real launcher and supervisor, with stand-in control and workers, on free ports
 * and a data folder of its own. Everything that it started is gone after the test.
 */

import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { fileURLToPath } from "node:url";
import { parseStaticConfig } from "../../src/config/load.ts";
import type { StaticConfig } from "../../src/config/static-config.ts";
import { processFolder } from "../folders/process-folder.ts";

export const PACKAGE_FOLDER = fileURLToPath(new URL("../..", import.meta.url));

export interface LogLine {
  level: string;
  message: string;
  role: string;
  [field: string]: unknown;
}

export interface StartOptions {
  /** Command and first arguments; default: the launcher under this Node.js. */
  command?: string[];
  config?: StaticConfig;
  folder?: string;
}

/** Two workers on a free port, with quick heartbeats and patient drains. */
export function testConfig(change: (config: StaticConfig) => void = () => {}): StaticConfig {
  const { config } = parseStaticConfig("(test)", "", {});
  config.workers = 2;
  config.groups = [{ name: "default", workers: 2 }];
  const anywhere = { address: "127.0.0.1", port: 0, proxyProtocol: false, group: "default" };
  config.listeners = [
    { purpose: "http", ...anywhere },
    { purpose: "admin", ...anywhere },
  ];
  config.supervision = { heartbeatMs: 50, staleAfterMs: 60_000, drainTimeoutMs: 10_000, workerHeapMb: 64 };
  config.metrics.prefix = "first";
  change(config);
  return config;
}

/** It stays as long as the process: nodes are ended by hooks of the test, and folders must outlive them. */
export function temporaryFolder(_t: TestContext): string {
  return processFolder("cardea-process-");
}

export class StartedNode {
  readonly process: ChildProcess;
  readonly folder: string;
  readonly lines: LogLine[] = [];
  errors = "";
  readonly #parts: string;
  readonly #ended: Promise<{ code: number | null; signal: string | null }>;
  #onLine: (() => void)[] = [];

  /** Starts it; does not wait until it serves. */
  constructor(
    t: TestContext,
    { command, config = testConfig(), folder = temporaryFolder(t) }: StartOptions = {},
  ) {
    this.folder = folder;
    const beside = temporaryFolder(t);
    this.#parts = join(beside, "parts.json");
    this.configure(config);
    const [program, ...args] = command ?? [process.execPath, join(PACKAGE_FOLDER, "bin/cardea"), "start"];
    // npm does not start, nor end, where the home folder cannot be written.
    const npm = { npm_config_cache: join(beside, "npm"), npm_config_update_notifier: "false" };
    const env = { ...process.env, ...npm, CARDEA_TEST_PARTS: this.#parts, CARDEA_DATA: folder };
    delete (env as NodeJS.ProcessEnv)["NODE_TEST_CONTEXT"];
    this.process = spawn(program, args, { cwd: PACKAGE_FOLDER, env, stdio: ["ignore", "pipe", "pipe"] });
    // Not "exit": every process that inherited the output must be gone too.
    this.#ended = once(this.process, "close").then(([code, signal]) => ({ code, signal }));
    this.process.stderr!.setEncoding("utf8").on("data", (text: string) => {
      this.errors += text;
    });
    this.#readLines();
    t.after(async () => {
      if ((t as { passed?: boolean }).passed === false) t.diagnostic(this.transcript());
      await this.#clean();
    });
  }

  /** Starts it and waits until it serves. */
  static async serving(t: TestContext, options?: StartOptions): Promise<StartedNode> {
    const node = new StartedNode(t, options);
    await node.logs("the node serves");
    return node;
  }

  /** What the next process of this node, after an upgrade, is started with. */
  configure(config: StaticConfig): void {
    const control = fileURLToPath(new URL("stand-ins/control.ts", import.meta.url));
    const worker = fileURLToPath(new URL("stand-ins/worker.ts", import.meta.url));
    writeFileSync(this.#parts, JSON.stringify({ config, control, worker }));
  }

  /** Waits for the `count`th line with this message; rejects with all that was written when the launcher ends before. */
  async logs(message: string, count = 1): Promise<LogLine> {
    for (;;) {
      const found = this.lines.filter((line) => line.message === message).at(count - 1);
      if (found !== undefined) return found;
      const ended = await Promise.race([
        new Promise<null>((resolve) => this.#onLine.push(() => resolve(null))),
        this.#ended,
      ]);
      if (ended !== null && this.lines.filter((line) => line.message === message).length < count) {
        throw new Error(
          `"${message}" never came; ended with ${ended.signal ?? ended.code}\n${this.transcript()}`,
        );
      }
    }
  }

  transcript(): string {
    return `${this.lines.map((line) => JSON.stringify(line)).join("\n")}\n${this.errors}`;
  }

  get port(): number {
    return this.portOf("http");
  }

  portOf(purpose: string): number {
    const line = this.lines.findLast((each) => each.message === "the node serves")!;
    const place = (line["listeners"] as string[]).find((each) => each.startsWith(`${purpose} `))!;
    return Number(place.slice(place.lastIndexOf(":") + 1));
  }

  /** Of the node process that serves now. */
  get nodePid(): number {
    return this.lines.findLast((line) => line.message === "the node serves")!["pid"] as number;
  }

  ended(): Promise<{ code: number | null; signal: string | null }> {
    return this.#ended;
  }

  #readLines(): void {
    let rest = "";
    this.process.stdout!.setEncoding("utf8").on("data", (text: string) => {
      const texts = (rest + text).split("\n");
      rest = texts.pop()!;
      for (const line of texts) if (line.startsWith("{")) this.lines.push(JSON.parse(line) as LogLine);
      const waiting = this.#onLine;
      this.#onLine = [];
      for (const tell of waiting) tell();
    });
  }

  async #clean(): Promise<void> {
    const pids = new Set(
      this.lines.flatMap((line) => (typeof line["pid"] === "number" ? [line["pid"]] : [])),
    );
    this.process.kill("SIGKILL");
    for (const pid of pids) if (isCardea(pid)) process.kill(pid, "SIGKILL");
    await this.#ended;
  }
}

/** Whether a process with this id exists that runs our code: the id may have been given to another since. */
export function isCardea(pid: number): boolean {
  try {
    const command = readFileSync(`/proc/${pid}/cmdline`, "utf8");
    return command.includes(PACKAGE_FOLDER);
  } catch {
    return false;
  }
}
