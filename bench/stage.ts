/**
 * Where a scenario plays: starts the gateways that it asks for, measures them in turn, and ends them.
 *
 * The gateway has core 0 for itself; load generator and origin share core 1 (the origin has core 2 where there
 * is one). Contenders are measured in turns, round by round, so that a slow minute of the machine hurts all of
 * them alike; a row is the median of its rounds.
 */

import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { cpSync, mkdirSync, mkdtempSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import type { Pair } from "./certificate.ts";
import { AdminClient } from "./admin-client.ts";
import { figuresOf, medianFigures } from "./figures.ts";
import { Generators, LOAD_CORE } from "./load/generators.ts";
import { type RequestShape, writeRequests } from "./load/request-list.ts";
import type { LoadResult } from "./load/result.ts";
import { cpuOf, runTimeUs } from "./measure.ts";
import { startCardea } from "./peers/cardea.ts";
import type { Cardea, CardeaOptions } from "./peers/cardea.ts";
import { etcdUrl, fillEtcd, startEtcd } from "./peers/etcd.ts";
import { startNginxProxy, startNginxStream, startOrigin } from "./peers/nginx.ts";
import { startNodeHttp } from "./peers/node-http.ts";
import type { Peer } from "./peers/peer.ts";
import { Processes } from "./processes.ts";
import type { Figures, Row } from "./results.ts";
import type { OtherUpstream, RouteSet } from "./routes.ts";
import { addedBetween, median, medianDistance } from "./statistics.ts";

const GATEWAY_CORE = "0";
const WARM_UP_SECONDS = 2;
/** Where each turn is compared with its neighbours, many short ones say more than a few long ones. */
const TURN_SECONDS = 1;

export interface Settings {
  rounds: number;
  secondsPerRound: number;
}

export interface Contender {
  name: string;
  peer: Peer;
  requests: readonly RequestShape[];
}

export class Stage {
  readonly settings: Settings;
  readonly processes: Processes;
  readonly load: Generators;
  readonly #tools: Record<string, string>;
  readonly #folder: string;
  readonly #log: (text: string) => void;
  readonly #peers: Peer[] = [];
  readonly #seeds = new Map<string, string>();
  #origin: Peer | null = null;

  constructor(
    tools: Record<string, string>,
    folder: string,
    settings: Settings,
    log: (text: string) => void,
  ) {
    if (availableParallelism() < 2)
      throw new Error("two cores are needed: one for the gateway, one for the load");
    this.settings = settings;
    this.processes = new Processes(tools.taskset);
    this.load = new Generators(tools, (name) => this.newFolder(name));
    this.#tools = tools;
    this.#folder = folder;
    this.#log = log;
  }

  get originPort(): number {
    if (this.#origin === null) throw new Error("the origin is not started");
    return this.#origin.port;
  }

  async open(): Promise<void> {
    const cores = availableParallelism() > 2 ? "2" : LOAD_CORE;
    this.#origin = await startOrigin(this.processes, {
      nginx: this.#tools.nginx,
      folder: this.newFolder("origin"),
      cores,
    });
  }

  newFolder(name: string): string {
    return mkdtempSync(join(this.#folder, `${name}-`));
  }

  async nginx({
    accessLog = false,
    pair,
    http2,
    other,
  }: { accessLog?: boolean; pair?: Pair; http2?: boolean; other?: OtherUpstream } = {}): Promise<Peer> {
    return this.#keep(
      await startNginxProxy(this.processes, {
        nginx: this.#tools.nginx,
        folder: this.newFolder("nginx"),
        cores: GATEWAY_CORE,
        originPort: this.originPort,
        accessLog,
        pair,
        http2,
        other,
      }),
    );
  }

  async nginxStream(): Promise<Peer> {
    const { nginx } = this.#tools;
    const folder = this.newFolder("nginx-stream");
    const options = { nginx, folder, cores: GATEWAY_CORE, originPort: this.originPort };
    return this.#keep(await startNginxStream(this.processes, options));
  }

  async nodeHttp(): Promise<Peer> {
    const folder = this.newFolder("node-http");
    return this.#keep(
      await startNodeHttp(this.processes, { folder, cores: GATEWAY_CORE, originPort: this.originPort }),
    );
  }

  /** Cardea with these routes, on the gateway's core unless `anyCore`. Equal `seedName`s are written only once. */
  async cardea(
    seedName: string,
    routes: () => RouteSet,
    options: Partial<Omit<CardeaOptions, "folder" | "dataFolder" | "cores">> & { anyCore?: boolean } = {},
  ): Promise<Cardea> {
    const seed = await this.#seed(seedName, routes, options);
    const folder = this.newFolder("cardea");
    const dataFolder = join(folder, "data");
    cpSync(seed, dataFolder, { recursive: true });
    const { anyCore = false, workers = 1, accessLog = false, isSecure, isStream, router } = options;
    return this.#keep(
      await startCardea(this.processes, {
        folder,
        dataFolder,
        workers,
        accessLog,
        isSecure,
        isStream,
        router,
        cores: anyCore ? undefined : GATEWAY_CORE,
      }),
    );
  }

  /** The same on an etcd of its own, which shares the core of the load. */
  async cardeaOnEtcd({ base, routes }: RouteSet): Promise<Cardea> {
    const etcd = await startEtcd(this.processes, {
      etcd: this.#tools.etcd,
      folder: this.newFolder("etcd"),
      cores: LOAD_CORE,
    });
    this.#keep(etcd);
    await fillEtcd(etcd.port, [...base, ...routes]);
    const folder = this.newFolder("cardea");
    return this.#keep(
      await startCardea(this.processes, {
        folder,
        dataFolder: join(folder, "data"),
        workers: 1,
        accessLog: false,
        cores: GATEWAY_CORE,
        etcd: etcdUrl(etcd.port),
      }),
    );
  }

  /** Ends the gateways of a scenario; the origin stays. */
  async closePeers(): Promise<void> {
    await Promise.all(this.#peers.splice(0).map((peer) => this.processes.stop(peer.process)));
  }

  /** Measures the contenders in a closed loop, in turns. */
  async closedLoop(scenario: string, contenders: readonly Contender[]): Promise<Row[]> {
    const files = contenders.map(({ requests }, i) => {
      const file = join(this.#folder, `requests-${i}`);
      writeRequests(file, requests);
      return file;
    });
    const run = (i: number, seconds: number): Promise<LoadResult> =>
      this.load.wrk(contenders[i].peer, files[i], seconds);
    // Routes are compiled when they are first used: that is not what a row of this loop measures.
    for (const { peer, requests } of contenders) await this.load.useAll(peer, requests, 1);
    return this.inTurns(scenario, contenders, (i) => run(i, this.settings.secondsPerRound));
  }

  /** The same over HTTP/2, with many requests at a time on each connection. */
  async multiplexedLoop(
    scenario: string,
    contenders: readonly Pick<Contender, "name" | "peer">[],
  ): Promise<Row[]> {
    for (const { peer } of contenders) await this.load.multiplexed(peer, WARM_UP_SECONDS);
    return this.inTurns(scenario, contenders, (i) =>
      this.load.multiplexed(contenders[i].peer, this.settings.secondsPerRound),
    );
  }

  /**
   * A program that acts on a gateway while it is measured. It shares the core of the load and the origin, which must not
   * wait for it: it has what they leave.
   */
  startBystander(name: string, command: string, args: readonly string[]): ChildProcess {
    return this.processes.start("nice", ["-n", "19", command, ...args], {
      cores: LOAD_CORE,
      logFile: join(this.newFolder(name), "output.log"),
    });
  }

  /** Calls `run` for each contender in each round, with the CPU of its gateway around it; medians per contender. */
  async inTurns(
    scenario: string,
    contenders: readonly Pick<Contender, "name" | "peer">[],
    run: (index: number) => Promise<LoadResult>,
  ): Promise<Row[]> {
    const found: Figures[][] = contenders.map(() => []);
    for (let round = 0; round < this.settings.rounds; round++) {
      for (const [i, { peer }] of contenders.entries()) {
        const before = cpuOf(peer.process.pid!);
        const result = await run(i);
        found[i].push(figuresOf(result, before, cpuOf(peer.process.pid!)));
      }
    }
    return contenders.map(({ name }, i) => {
      const row: Row = { scenario, contender: name, ...medianFigures(found[i]) };
      this.#log(`  ${name}: ${row.cpuUs?.toFixed(2)} µs CPU, p99.9 ${row.p999Us?.toFixed(0)} µs`);
      return row;
    });
  }

  /**
   * What contenders cost more than `base`, all of them routes of one gateway: each turn of a contender stands between
   * two turns of `base`, and what it adds is the difference from their mean. So neither a slow minute of the machine nor
   * the history of the process (compilation, heap) is in it. Turns are short and many (half of the time goes
   * to `base`), and their median counts.
   */
  async paired(scenario: string, base: Contender, contenders: readonly Contender[]): Promise<Row[]> {
    const all = [base, ...contenders];
    const files = all.map(({ requests }, i) => {
      const file = join(this.#folder, `requests-${i}`);
      writeRequests(file, requests);
      return file;
    });
    const { rounds, secondsPerRound } = this.settings;
    const turns = Math.max(1, Math.round((rounds * secondsPerRound) / 2 / TURN_SECONDS));
    const costs: number[][] = all.map(() => []);
    const added: number[][] = all.map(() => []);
    const rates: number[][] = all.map(() => []);
    let failures = 0;
    const turn = async (i: number): Promise<number> => {
      const root = all[i].peer.process.pid!;
      const before = runTimeUs(root);
      const result = await this.load.wrk(all[i].peer, files[i], TURN_SECONDS);
      failures += result.failures;
      rates[i].push(result.requestsPerSecond);
      const cost = (runTimeUs(root) - before) / result.requests;
      costs[i].push(cost);
      return cost;
    };
    for (let i = 0; i < all.length; i++) await turn(i);
    for (const list of [...costs, ...rates]) list.length = 0; // that was to warm up
    let before = await turn(0);
    for (let round = 0; round < turns; round++) {
      for (let i = 1; i < all.length; i++) {
        const cost = await turn(i);
        const after = await turn(0);
        added[i].push(addedBetween(before, cost, after));
        before = after;
      }
    }
    return all.map(({ name }, i) => {
      const row: Row = { scenario, contender: name, cpuUs: median(costs[i]), failures };
      row.requestsPerSecond = median(rates[i]);
      if (i > 0) {
        row.addedUs = median(added[i]);
        row.spreadUs = medianDistance(added[i], row.addedUs);
      }
      this.#log(`  ${name}: ${row.addedUs?.toFixed(2) ?? row.cpuUs!.toFixed(2)} µs`);
      return row;
    });
  }

  async #seed(
    name: string,
    routes: () => RouteSet,
    { router, isStream }: Pick<Partial<CardeaOptions>, "router" | "isStream">,
  ): Promise<string> {
    const known = this.#seeds.get(name);
    if (known !== undefined) return known;
    const folder = this.newFolder("seed");
    const dataFolder = join(folder, "data");
    mkdirSync(dataFolder);
    const cardea = await startCardea(this.processes, {
      folder,
      dataFolder,
      workers: 1,
      accessLog: false,
      isStream,
      router,
    });
    const client = new AdminClient(cardea.adminPort);
    const { base, routes: rest } = routes();
    await client.putAll(base, rest);
    client.close();
    await this.processes.stop(cardea.process);
    this.#seeds.set(name, dataFolder);
    return dataFolder;
  }

  #keep<T extends Peer>(peer: T): T {
    this.#peers.push(peer);
    return peer;
  }
}

/** Such a program ends itself on SIGTERM, with 1 when something failed or it fell behind. */
export async function endBystander(program: ChildProcess): Promise<void> {
  if (program.exitCode === null) {
    const ended = once(program, "exit");
    program.kill("SIGTERM");
    await ended;
  }
  if (program.exitCode !== 0) throw new Error(`failed: ${program.spawnargs.join(" ")}`);
}
