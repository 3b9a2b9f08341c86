/**
 * Real members of an etcd (Debian's etcd-server) on loopback, each with a data folder of its own; whatever a test
 * started is gone after it. Members are killed, paused and restored for real.
 */

import { type ChildProcess, execFile, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { freePorts } from "../ports/free-port.ts";

/** Of no interest to these tests: what is on disk survives a kill without it. */
const FOLDERS = existsSync("/dev/shm") ? "/dev/shm" : tmpdir();

/** Why the tests cannot run here; false: they can. */
export const WITHOUT_ETCD: string | false =
  spawnSync("etcd", ["--version"]).status === 0
    ? false
    : "there is no etcd (Debian: etcd-server, etcd-client)";

export interface ClusterOptions {
  members?: number;
  flags?: readonly string[];
  /** Begins members' client URLs. */
  scheme?: "http" | "https";
}

/** A test, or a whole file. */
interface Lifetime {
  after(end: () => Promise<void>): void;
}

class EtcdMember {
  readonly name: string;
  readonly clientUrl: string;
  readonly peerUrl: string;
  readonly folder: string;
  output = "";
  #process: ChildProcess | null = null;
  readonly #flags: () => readonly string[];

  constructor(
    name: string,
    ports: readonly [client: number, peer: number],
    scheme: string,
    folder: string,
    flags: () => readonly string[],
  ) {
    this.name = name;
    this.clientUrl = `${scheme}://127.0.0.1:${ports[0]}`;
    this.peerUrl = `http://127.0.0.1:${ports[1]}`;
    this.folder = folder;
    this.#flags = flags;
  }

  get pid(): number {
    return this.#process!.pid!;
  }

  /** Ends when it serves; it needs a majority for that. `clientUrl`: somewhere else than where it is known. */
  async start(clientUrl = this.clientUrl): Promise<void> {
    const child = spawn(
      "etcd",
      [
        ["--name", this.name],
        ["--data-dir", join(this.folder, "data")],
        ["--listen-client-urls", clientUrl],
        ["--advertise-client-urls", this.clientUrl],
        ["--listen-peer-urls", this.peerUrl],
        ["--initial-advertise-peer-urls", this.peerUrl],
        [
          "--logger",
          "zap",
          "--log-outputs",
          "stderr",
          "--heartbeat-interval",
          "100",
          "--election-timeout",
          "1000",
        ],
        this.#flags(),
      ].flat(),
      { stdio: ["ignore", "ignore", "pipe"], env: { ...process.env, ETCD_UNSUPPORTED_ARCH: process.arch } },
    );
    this.#process = child;
    this.output = "";
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      this.output = (this.output + text).slice(-20_000);
      if (
        /ready to serve client requests|serving (?:insecure )?client (?:requests|traffic)/.test(this.output)
      )
        resolve();
    });
    child.once("exit", () => reject(new Error(`etcd ended: ${this.output.slice(-2000)}`)));
    await promise;
  }

  async kill(): Promise<void> {
    const child = this.#process;
    if (child === null || child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, "exit");
    child.kill("SIGKILL");
    await ended;
  }

  pause(): void {
    this.#process!.kill("SIGSTOP");
  }

  resume(): void {
    this.#process!.kill("SIGCONT");
  }
}

export class EtcdCluster {
  readonly members: EtcdMember[] = [];
  readonly folder: string;
  #flags: readonly string[];

  private constructor(folder: string, flags: readonly string[]) {
    this.folder = folder;
    this.#flags = flags;
  }

  static async start(t: Lifetime, options: ClusterOptions = {}): Promise<EtcdCluster> {
    const { members = 1, flags = [], scheme = "http" } = options;
    const folder = mkdtempSync(join(FOLDERS, "cardea-etcd-"));
    const cluster = new EtcdCluster(folder, flags);
    const ports = await freePorts(members * 2);
    for (let i = 0; i < members; i++) {
      const pair = [ports[2 * i], ports[2 * i + 1]] as const;
      const member = new EtcdMember(`m${i}`, pair, scheme, join(folder, `m${i}`), () => cluster.flags());
      cluster.members.push(member);
    }
    t.after(() => cluster.stop());
    await cluster.startAll();
    return cluster;
  }

  flags(): string[] {
    return ["--initial-cluster", this.initialCluster, ...this.#flags];
  }

  get initialCluster(): string {
    return this.members.map(({ name, peerUrl }) => `${name}=${peerUrl}`).join(",");
  }

  get endpoints(): string[] {
    return this.members.map((member) => member.clientUrl);
  }

  async startAll(): Promise<void> {
    await Promise.all(this.members.map((member) => member.start()));
  }

  async killAll(): Promise<void> {
    await Promise.all(this.members.map((member) => member.kill()));
  }

  /** All members come back with what the snapshot has; `clientUrl`: a single one, and somewhere else. */
  async restore(snapshot: string, clientUrl?: string): Promise<void> {
    await this.killAll();
    for (const { name, peerUrl, folder } of this.members) {
      rmSync(join(folder, "data"), { recursive: true });
      await run(
        "etcdctl",
        [
          ["snapshot", "restore", snapshot, "--name", name, "--data-dir", join(folder, "data")],
          ["--initial-cluster", this.initialCluster, "--initial-advertise-peer-urls", peerUrl],
        ].flat(),
      );
    }
    await Promise.all(this.members.map((member) => member.start(clientUrl)));
  }

  /** Of one member: etcdctl takes a snapshot from a single one. */
  async backup(file: string): Promise<void> {
    await run("etcdctl", ["--endpoints", this.endpoints[0], "snapshot", "save", file]);
  }

  /** The standard output of etcdctl. */
  async ctl(...args: string[]): Promise<string> {
    return await run("etcdctl", ["--endpoints", this.endpoints.join(","), ...args]);
  }

  /** The value comes by the standard input: it may be long. */
  async put(key: string, value: string): Promise<void> {
    const empty = value === "" ? [""] : [];
    const child = spawn("etcdctl", ["--endpoints", this.endpoints[0], "put", key, ...empty], {
      stdio: ["pipe", "ignore", "pipe"],
      env: ctlEnvironment(),
    });
    let errors = "";
    child.stderr.setEncoding("utf8").on("data", (text: string) => (errors += text));
    child.stdin.end(value);
    const [code] = (await once(child, "close")) as [number];
    if (code !== 0) throw new Error(`etcdctl put: ${errors}`);
  }

  async leader(): Promise<EtcdMember> {
    const status = JSON.parse(await this.ctl("endpoint", "status", "-w", "json")) as {
      Endpoint: string;
      Status: { header: { member_id: number }; leader: number };
    }[];
    const leading = status.find(({ Status }) => Status.header.member_id === Status.leader)!;
    return this.members.find(({ clientUrl }) => clientUrl === leading.Endpoint)!;
  }

  async stop(): Promise<void> {
    await this.killAll();
    rmSync(this.folder, { recursive: true, force: true, maxRetries: 5 });
  }
}

function ctlEnvironment(): NodeJS.ProcessEnv {
  return { ...process.env, ETCDCTL_API: "3", ETCDCTL_DIAL_TIMEOUT: "60s", ETCDCTL_COMMAND_TIMEOUT: "60s" };
}

async function run(program: string, args: string[]): Promise<string> {
  const { stdout } = await promisify(execFile)(program, args, {
    env: ctlEnvironment(),
    maxBuffer: 64 * 1024 * 1024,
  });
  return stdout;
}
