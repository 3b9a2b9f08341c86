/**
 * A whole node for the tests of the promises: launcher, control and workers, all real, on free loopback ports and
 * with a data folder of its own. Whatever it started is gone after the test.
 *
 * A test may set an own module as worker or control: those of this folder are the real ones plus a fault to inject.
 */

import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { TestContext } from "node:test";
import { fileURLToPath } from "node:url";
import { parseStaticConfig } from "../../src/config/load.ts";
import type { StaticConfig } from "../../src/config/static-config.ts";
import { freePort } from "../ports/free-port.ts";
import { processFolder } from "../folders/process-folder.ts";

export const ROOT = fileURLToPath(new URL("../..", import.meta.url));

export type Purpose = "http" | "https" | "admin" | "control" | "status" | "metrics";

export interface LogLine {
  level: string;
  message: string;
  [field: string]: unknown;
}

export interface Reply {
  status: number;
  headers: Headers;
  text: string;
  // oxlint-disable-next-line typescript/no-explicit-any -- tests look into bodies of every shape
  body: any;
}

export interface NodeOptions {
  change?: (config: StaticConfig) => void;
  /** Data folder of an earlier node; default: a new one. */
  folder?: string;
  /** Module beside this file that runs instead. */
  worker?: string;
  control?: string;
  storeLink?: string;
  /** Program that runs instead of the launcher, with its arguments. */
  launcher?: string[];
  /** Options of V8 for the node: what a test must hold still. */
  flags?: string;
  /** Environment besides. */
  env?: NodeJS.ProcessEnv;
}

const PURPOSES: readonly Purpose[] = ["http", "admin", "control", "status", "metrics"];

const SHOWN_LINES = 40;

/** A kept connection may have ended with its thread a moment ago, which `fetch` does not know yet. */
const ON_ITS_OWN = { connection: "close" };

/** Two workers, free ports, quick heartbeats, no access log. */
function promiseConfig(change: (config: StaticConfig) => void = () => {}): StaticConfig {
  const { config } = parseStaticConfig("(test)", "", {});
  config.workers = 2;
  config.groups = [{ name: "default", workers: 2 }];
  config.listeners = PURPOSES.map((purpose) => ({
    purpose,
    address: "127.0.0.1",
    port: 0,
    proxyProtocol: false,
    group: "default",
  }));
  config.supervision = { heartbeatMs: 50, staleAfterMs: 60_000, drainTimeoutMs: 10_000, workerHeapMb: 256 };
  config.accessLog.path = null;
  // A machine that is busy with other tests makes every loop late; the tests of shedding set it.
  config.http.shedEventLoopDelayMs = 0;
  config.log.level = "info";
  change(config);
  return config;
}

/** It stays as long as the process: nodes are ended by hooks of the test, and folders must outlive them. */
export function temporaryFolder(_t: TestContext): string {
  return processFolder("cardea-promise-");
}

export class RealNode {
  readonly folder: string;
  readonly launcher: ChildProcess;
  readonly lines: LogLine[] = [];
  errors = "";
  #isClosed = false;
  #wake: (() => void)[] = [];
  readonly #ended: Promise<unknown>;

  private constructor(t: TestContext, options: NodeOptions) {
    this.folder = options.folder ?? temporaryFolder(t);
    const parts: Record<string, unknown> = { config: promiseConfig(options.change) };
    for (const part of ["worker", "control", "storeLink"] as const) {
      const module = options[part];
      if (module !== undefined) parts[part] = fileURLToPath(new URL(module, import.meta.url));
    }
    const file = join(temporaryFolder(t), "parts.json");
    writeFileSync(file, JSON.stringify(parts));
    const env: NodeJS.ProcessEnv = { ...process.env, CARDEA_TEST_PARTS: file, CARDEA_DATA: this.folder };
    if (options.flags !== undefined) {
      env["NODE_OPTIONS"] = options.flags;
      // A cache that all tests share is useless with other flags: this node makes its own.
      delete env["NODE_COMPILE_CACHE"];
    }
    Object.assign(env, options.env);
    delete env["NODE_TEST_CONTEXT"];
    delete env["CARDEA_ADMIN_KEY"];
    const args = options.launcher ?? [join(ROOT, "bin/cardea"), "start"];
    this.launcher = spawn(process.execPath, args, { cwd: ROOT, env, stdio: ["ignore", "pipe", "pipe"] });
    // Not "exit": every process that inherited the output must be gone too.
    this.#ended = once(this.launcher, "close").then(() => {
      this.#isClosed = true;
      this.#tell();
    });
    this.launcher.stderr!.setEncoding("utf8").on("data", (text: string) => {
      this.errors += text;
    });
    createInterface({ input: this.launcher.stdout! }).on("line", (line) => {
      if (line.startsWith("{")) this.lines.push(JSON.parse(line) as LogLine);
      this.#tell();
    });
    t.after(async () => {
      if ((t as { passed?: boolean }).passed === false) t.diagnostic(this.transcript());
      await this.kill();
    });
  }

  /** Starts it and waits until it serves. */
  static async start(t: TestContext, options: NodeOptions = {}): Promise<RealNode> {
    const node = new RealNode(t, options);
    await node.logged("the node serves");
    return node;
  }

  /** Begin and end of the log. */
  transcript(): string {
    const lines = this.lines.map((line) => JSON.stringify(line));
    const shown =
      lines.length <= 2 * SHOWN_LINES
        ? lines
        : [...lines.slice(0, SHOWN_LINES), "...", ...lines.slice(-SHOWN_LINES)];
    return `${shown.join("\n")}\n${this.errors}`;
  }

  /** Waits for the `count`th line with this message. */
  async logged(message: string, count = 1): Promise<LogLine> {
    for (;;) {
      const found = this.lines.filter((line) => line.message === message)[count - 1];
      if (found !== undefined) return found;
      if (this.#isClosed) throw new Error(`"${message}" never came\n${this.transcript()}`);
      await new Promise<void>((resolve) => {
        this.#wake.push(resolve);
      });
    }
  }

  port(purpose: Purpose = "http"): number {
    const line = this.lines.findLast((each) => each.message === "the node serves")!;
    const place = (line["listeners"] as string[]).find((each) => each.startsWith(`${purpose} `))!;
    return Number(place.slice(place.lastIndexOf(":") + 1));
  }

  url(purpose: Purpose = "http"): string {
    return `http://127.0.0.1:${this.port(purpose)}`;
  }

  /** Of the node process that serves now. */
  get pid(): number {
    return this.lines.findLast((line) => line.message === "the node serves")!["pid"] as number;
  }

  get key(): string {
    return readFileSync(join(this.folder, "admin.key"), "utf8").trim();
  }

  /** A request to the Admin API; `path` begins behind `/apisix/admin`. */
  async admin(
    method: string,
    path: string,
    body?: unknown,
    headers: Record<string, string> = {},
  ): Promise<Reply> {
    const init: RequestInit = { method, headers: { ...ON_ITS_OWN, "x-api-key": this.key, ...headers } };
    if (body !== undefined) init.body = typeof body === "string" ? body : JSON.stringify(body);
    return await request(`${this.url("admin")}/apisix/admin${path}`, init);
  }

  /** A PUT that must succeed, and be live on every worker when this ends. */
  async put(path: string, body: unknown): Promise<void> {
    const reply = await this.admin("PUT", `${path}?wait=live`, body);
    assert.ok(reply.status === 200 || reply.status === 201, `PUT ${path}: ${reply.status} ${reply.text}`);
  }

  async get(path: string, headers: Record<string, string> = {}): Promise<Reply> {
    return await request(this.url() + path, { headers });
  }

  // oxlint-disable-next-line typescript/no-explicit-any -- tests look into bodies of every shape
  async control(path: string): Promise<any> {
    return (await request(this.url("control") + path, { headers: ON_ITS_OWN })).body;
  }

  /** Drains and ends. */
  async stop(): Promise<void> {
    this.launcher.kill("SIGTERM");
    await this.#ended;
  }

  /** SIGKILL to the launcher and to every process of the node at once. Idempotent. */
  async kill(): Promise<void> {
    if (this.#isClosed) return;
    this.launcher.kill("SIGKILL");
    const pids = this.lines.flatMap((line) => (typeof line["pid"] === "number" ? [line["pid"]] : []));
    for (const pid of new Set(pids)) if (isCardea(pid)) process.kill(pid, "SIGKILL");
    await this.#ended;
  }

  #tell(): void {
    const waiting = this.#wake;
    this.#wake = [];
    for (const wake of waiting) wake();
  }
}

async function request(url: string, init: RequestInit): Promise<Reply> {
  const response = await fetch(url, init);
  const text = await response.text();
  let body: unknown = text;
  try {
    body = JSON.parse(text);
  } catch {
    // Not everything is JSON: tests that expect it see the text.
  }
  return { status: response.status, headers: response.headers, text, body };
}

/** Stream routes on this port for TCP. */
export function addStreams(config: StaticConfig, port: number): void {
  config.admin.streamRoutes = true;
  const stream = { tls: false, proxyProtocolToUpstream: false };
  config.listeners.push({ ...config.listeners[0], purpose: "stream-tcp", port, stream });
}

export async function withTls(): Promise<(config: StaticConfig) => void> {
  const port = await freePort();
  return (config) => config.listeners.push({ ...config.listeners[0], purpose: "https", port });
}

/** The id may have been given to another process since. */
function isCardea(pid: number): boolean {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8").includes(ROOT);
  } catch {
    return false;
  }
}
