/**
 * The load generators as a stage uses them: on the core that is theirs, for so long, with their files in folders of the run.
 */

import { readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { Peer } from "../peers/peer.ts";
import { runGenerator } from "./generator.ts";
import { h2loadCommand, parseH2loadLog, planOpenLoop } from "./h2load.ts";
import { multiplexedCommand, parseMultiplexedLog } from "./multiplexed.ts";
import { type RequestShape, shuffled, writeRequests, writeTargets } from "./request-list.ts";
import type { LoadResult } from "./result.ts";
import { parseWrk, wrkCommand } from "./wrk.ts";

export const LOAD_CORE = "1";
const CONNECTIONS = 64;
const HTTP2_CONNECTIONS = 4;
const STREAMS_PER_CONNECTION = 32;
const GENERATOR_GRACE_MS = 60_000;
/** One turn of `useAll`. */
const USE_SECONDS = 2;

export class Generators {
  readonly #tools: Record<string, string>;
  readonly #newFolder: (name: string) => string;

  constructor(tools: Record<string, string>, newFolder: (name: string) => string) {
    this.#tools = tools;
    this.#newFolder = newFolder;
  }

  /** Over HTTP/2, with many requests at a time on each connection. */
  async multiplexed({ port, isSecure }: Peer, seconds: number): Promise<LoadResult> {
    const folder = this.#newFolder("h2load");
    const logFile = join(folder, "log");
    const command = multiplexedCommand(this.#tools.h2load, {
      port,
      isSecure,
      connections: HTTP2_CONNECTIONS,
      streamsPerConnection: STREAMS_PER_CONNECTION,
      seconds,
      logFile,
    });
    await runGenerator(this.#tools.taskset, LOAD_CORE, command, seconds * 1000 + GENERATOR_GRACE_MS);
    const result = parseMultiplexedLog(readFileSync(logFile, "latin1"), seconds);
    rmSync(folder, { recursive: true });
    return result;
  }

  /** Sends every request of the list at least `times` times. */
  async useAll(peer: Peer, requests: readonly RequestShape[], times: number): Promise<void> {
    const file = join(this.#newFolder("requests"), "all");
    writeRequests(file, requests);
    for (let sent = 0; sent < requests.length * times;) {
      const result = await this.wrk(peer, file, USE_SECONDS);
      if (result.failures > 0 || result.requests === 0) throw new Error(`${result.failures} requests failed`);
      sent += result.requests;
    }
  }

  /** As many requests as there can be, one at a time on each connection. */
  async wrk(
    peer: Peer,
    requestsFile: string,
    seconds: number,
    connections = CONNECTIONS,
  ): Promise<LoadResult> {
    const { port, isSecure } = peer;
    const load = { port, isSecure, requestsFile, connections, seconds };
    const command = wrkCommand(this.#tools.wrk, load);
    return parseWrk(
      await runGenerator(this.#tools.taskset, LOAD_CORE, command, seconds * 1000 + GENERATOR_GRACE_MS),
    );
  }

  /** At this rate, whatever the answers do. */
  async h2load(
    port: number,
    targets: readonly string[],
    requestsPerSecond: number,
    seconds: number,
  ): Promise<LoadResult> {
    const folder = this.#newFolder("h2load");
    const [targetsFile, logFile] = [join(folder, "targets"), join(folder, "log")];
    writeTargets(targetsFile, port, shuffled(targets));
    const plan = planOpenLoop(requestsPerSecond, seconds);
    const command = h2loadCommand(
      this.#tools.h2load,
      { port, targetsFile, logFile, requestsPerSecond, seconds },
      plan,
    );
    const timeoutMs = seconds * 1000 + plan.openingMs + GENERATOR_GRACE_MS;
    await runGenerator(this.#tools.taskset, LOAD_CORE, command, timeoutMs);
    const result = parseH2loadLog(readFileSync(logFile, "latin1"), plan);
    rmSync(folder, { recursive: true });
    return result;
  }
}
