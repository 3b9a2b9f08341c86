/**
 * Deploys under load: instances behind the nodes of an upstream are taken out, killed, started anew and put back, again and
 * again, while requests come at a fixed rate. How many fail?
 *
 *     bin/cardea-node bench/deploys.ts [DEPLOYS] [REQUESTS_PER_SECOND] [GATEWAYS] [SECONDS]     (default: 50 5000 1 60)
 *
 * With two gateways they share an etcd, each has half of the load, and one request to the Admin API takes a node out on both.
 * Exits with 1 when a request failed or the load was over before the deploys were.
 */

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { RealNode } from "../test/promises/real-node.ts";
import { EtcdCluster } from "../test/etcd/members.ts";
import { startNode } from "../test/etcd/nodes.ts";
import { ends, numbersOf, play, t } from "./by-hand.ts";
import { runGenerator } from "./load/generator.ts";
import { h2loadCommand, parseH2loadLog, planOpenLoop } from "./load/h2load.ts";
import { writeTargets } from "./load/request-list.ts";
import type { LoadResult } from "./load/result.ts";
import { percentile } from "./statistics.ts";
import { findTools } from "./tools.ts";
import { freePort } from "../test/ports/free-port.ts";

const NODES = 3;
const ORIGIN = join(import.meta.dirname, "abrupt-origin.ts");
const GRACE_MS = 120_000;

const [deploys, rate, gatewayCount, seconds] = numbersOf([50, 5000, 1, 60]);

await play(run);

interface Instance {
  place: string;
  port: number;
  process: ChildProcess;
}

async function run(): Promise<void> {
  const instances = await Promise.all(Array.from({ length: NODES }, startInstance));
  const gateways = await startGateways();
  const nodes = instances.map(({ port }) => ({ host: "127.0.0.1", port, weight: 1 }));
  await gateways[0].put("/upstreams/1", { nodes });
  await gateways[0].put("/routes/1", { uri: "/*", upstream_id: "1" });
  for (const gateway of gateways) while ((await gateway.get("/")).status !== 200);
  const folder = mkdtempSync(join(tmpdir(), "cardea-deploys-"));
  ends.unshift(() => rmSync(folder, { recursive: true }));
  const plan = planOpenLoop(rate / gatewayCount, seconds);
  const load = gateways.map((gateway, i) => generate(gateway.port(), folder, i));
  await new Promise((resolve) => setTimeout(resolve, plan.openingMs));
  let isOver = false;
  const results = Promise.all(load).then((found) => {
    isOver = true;
    return found;
  });
  const tookMs: number[] = [];
  let isLate = false;
  for (let i = 0; i < deploys; i++) {
    tookMs.push(await deploy(gateways[0], instances[i % NODES]));
    isLate ||= isOver;
  }
  tell("deploys", String(deploys));
  const sorted = tookMs.toSorted((a, b) => a - b);
  tell(
    "taking out, until it is acknowledged",
    `p50 ${percentile(sorted, 0.5).toFixed(0)} ms, max ${sorted.at(-1)!.toFixed(0)} ms`,
  );
  let failures = 0;
  for (const [i, result] of (await results).entries()) {
    failures += result.failures;
    tell(`gateway ${i}: requests`, `${result.requests}, ${result.requestsPerSecond.toFixed(0)} per second`);
    tell(
      `gateway ${i}: latency`,
      `p50 ${ms(result.p50Us)}, p99 ${ms(result.p99Us)}, p99.9 ${ms(result.p999Us)}`,
    );
  }
  tell("failed requests", String(failures));
  if (isLate) console.log("the load was over before the deploys were: give it more SECONDS");
  if (failures > 0 || isLate) process.exitCode = 1;
}

async function startInstance(): Promise<Instance> {
  const port = await freePort();
  const instance: Instance = { place: `127.0.0.1:${port}`, port, process: await startOrigin(port) };
  ends.unshift(() => instance.process.kill("SIGKILL"));
  return instance;
}

async function startOrigin(port: number): Promise<ChildProcess> {
  const child = spawn(process.execPath, [ORIGIN, String(port)], { stdio: ["ignore", "pipe", "inherit"] });
  await once(child.stdout, "data");
  return child;
}

async function startGateways(): Promise<RealNode[]> {
  if (gatewayCount === 1) return [await RealNode.start(t)];
  const { endpoints } = await EtcdCluster.start(t);
  return await Promise.all(Array.from({ length: gatewayCount }, () => startNode(t, endpoints)));
}

async function generate(port: number, folder: string, i: number): Promise<LoadResult> {
  const tools = findTools();
  const [targetsFile, logFile] = [join(folder, `targets-${i}`), join(folder, `log-${i}`)];
  writeTargets(targetsFile, port, ["/"]);
  const requestsPerSecond = rate / gatewayCount;
  const plan = planOpenLoop(requestsPerSecond, seconds);
  const command = h2loadCommand(
    tools.h2load,
    { port, targetsFile, logFile, requestsPerSecond, seconds },
    plan,
  );
  const timeoutMs = seconds * 1000 + plan.openingMs + GRACE_MS;
  await runGenerator(tools.taskset, "0-1", command, timeoutMs);
  return parseH2loadLog(readFileSync(logFile, "latin1"), plan);
}

/** Milliseconds until the instance might be killed. */
async function deploy(gateway: RealNode, instance: Instance): Promise<number> {
  const path = `/upstreams/1/nodes/${instance.place}/drain`;
  const startedAt = performance.now();
  const reply = await gateway.admin("POST", `${path}?wait=drained&timeout=60`);
  const tookMs = performance.now() - startedAt;
  if (reply.status !== 200) throw new Error(`the node was not taken out: ${reply.status} ${reply.text}`);
  const ended = once(instance.process, "exit");
  instance.process.kill("SIGKILL");
  await ended;
  instance.process = await startOrigin(instance.port);
  const back = await gateway.admin("DELETE", path);
  if (back.status !== 200) throw new Error(`the node was not put back: ${back.status} ${back.text}`);
  return tookMs;
}

function ms(us: number): string {
  return `${(us / 1000).toFixed(1)} ms`;
}

function tell(what: string, figure: string): void {
  console.log(`${what.padEnd(50)} ${figure}`);
}
