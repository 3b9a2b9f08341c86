/**
 * What an upstream that is ill does to the routes of others: latency of a sound route while as many requests go to an upstream
 * that is well, hangs, answers 503, or sends without end.
 *
 *     bin/cardea-node bench/bulkheads.ts [ROUNDS] [SECONDS] [REQUESTS_PER_SECOND]     (default: 5 4 1000)
 *
 * One worker. The bystanders are the same in all turns: so many clients ask one after the other, each with a pause; only the path
 * differs. Clients of the endless answer read a megabyte per second for as long as the turn lasts. Turns go in rounds, so that a slow minute of the machine
 * hurts all alike; a row is the median of its rounds.
 */

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { get } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { RealNode } from "../test/promises/real-node.ts";
import { ends, numbersOf, play, t } from "./by-hand.ts";
import { runGenerator } from "./load/generator.ts";
import { h2loadCommand, parseH2loadLog, planOpenLoop } from "./load/h2load.ts";
import { writeTargets } from "./load/request-list.ts";
import { median } from "./statistics.ts";
import { findTools } from "./tools.ts";
import { freePort } from "../test/ports/free-port.ts";

const ORIGIN = join(import.meta.dirname, "abrupt-origin.ts");
const CLIENTS = 20;
const PAUSE_MS = 100;
const READ_BYTES_PER_SECOND = 1_000_000;
/** An answer without end first fills the buffers of all sockets on its way, some megabytes each. */
const SETTLING_MS = 2000;
const GRACE_MS = 60_000;
const ILLS = ["well", "hang", "fail", "endless"] as const;

const [rounds, seconds, rate] = numbersOf([5, 4, 1000]);

await play(run);

interface Found {
  p50: number[];
  p99: number[];
  failures: number;
}

async function run(): Promise<void> {
  const [sound, ill] = [await startOrigin(), await startOrigin()];
  const gateway = await RealNode.start(t, {
    change(config) {
      config.workers = 1;
      config.groups = [{ name: "default", workers: 1 }];
    },
  });
  await gateway.put("/routes/sound", { uri: "/sound", upstream: { nodes: { [sound]: 1 } } });
  const timeout = { connect: 1, send: 1, read: 1 };
  const upstream = { nodes: { [ill]: 1 }, timeout, limits: { requests: 100 } };
  await gateway.put("/routes/ill", { uris: ILLS.map((name) => `/${name}*`), upstream });
  const found = ILLS.map((): Found => ({ p50: [], p99: [], failures: 0 }));
  await measure(gateway.port());
  for (let round = 0; round < rounds; round++) {
    for (const [i, name] of ILLS.entries()) {
      const stop = startBystanders(gateway.port(), name);
      await new Promise((resolve) => setTimeout(resolve, SETTLING_MS));
      const { p50Us, p99Us, failures } = await measure(gateway.port());
      await stop();
      found[i].p50.push(p50Us / 1000);
      found[i].p99.push(p99Us / 1000);
      found[i].failures += failures;
    }
  }
  const rest = median(found[0].p99);
  for (const [i, name] of ILLS.entries()) {
    const [p50, p99] = [median(found[i].p50), median(found[i].p99)];
    const figures = `p50 ${p50.toFixed(2)} ms, p99 ${p99.toFixed(2)} ms (${(p99 / rest).toFixed(2)} ×)`;
    console.log(`${`the other upstream: ${name}`.padEnd(30)} ${figures}, ${found[i].failures} failed`);
  }
}

/** "127.0.0.1:port" */
async function startOrigin(): Promise<string> {
  const port = await freePort();
  const child: ChildProcess = spawn(process.execPath, [ORIGIN, String(port)], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  ends.unshift(() => child.kill("SIGKILL"));
  await once(child.stdout!, "data");
  return `127.0.0.1:${port}`;
}

async function measure(port: number) {
  const tools = findTools();
  const folder = mkdtempSync(join(tmpdir(), "cardea-bulkheads-"));
  const [targetsFile, logFile] = [join(folder, "targets"), join(folder, "log")];
  writeTargets(targetsFile, port, ["/sound"]);
  const plan = planOpenLoop(rate, seconds);
  const load = { port, targetsFile, logFile, requestsPerSecond: rate, seconds };
  const timeoutMs = seconds * 1000 + plan.openingMs + GRACE_MS;
  await runGenerator(tools.taskset, "0-1", h2loadCommand(tools.h2load, load, plan), timeoutMs);
  const result = parseH2loadLog(readFileSync(logFile, "latin1"), plan);
  rmSync(folder, { recursive: true });
  return result;
}

/** Gives what ends them. */
function startBystanders(port: number, name: string): () => Promise<void> {
  const end = new AbortController();
  const client = async (): Promise<void> => {
    while (!end.signal.aborted) {
      await ask(port, `/${name}`, end.signal);
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    }
  };
  const clients = Array.from({ length: CLIENTS }, client);
  return async () => {
    end.abort();
    await Promise.all(clients);
  };
}

/** Whatever comes of it. */
function ask(port: number, path: string, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const request = get({ port, path, agent: false, signal }, (response) => {
      response.on("data", (chunk: Buffer) => {
        response.pause();
        setTimeout(() => response.resume(), (chunk.length / READ_BYTES_PER_SECOND) * 1000);
      });
      response.on("error", () => {});
    });
    request.on("error", () => {});
    request.on("close", () => resolve());
  });
}
