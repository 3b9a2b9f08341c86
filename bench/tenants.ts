/**
 * What a tenant does to another one: latency of a tenant at a steady rate while the other rests, has as many requests as its worker can
 * take, or gets as many writes as its Admin API can take.
 *
 *     bin/cardea-node bench/tenants.ts [ROUNDS] [SECONDS] [REQUESTS_PER_SECOND]     (default: 5 4 1000)
 *
 * One worker each. Answers are the gateway's own (mocking), so that no origin takes part. Tenants share nothing but the cores of the
 * machine: node, load and the other's load want six of them (two workers, control of the other, the generators, the kernel). On fewer
 * the figures show how the system shares cores, and the first line says so. Turns go in rounds; a row is the median of its rounds.
 */

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import type { ListenerConfig, StaticConfig } from "../src/config/static-config.ts";
import { RealNode } from "../test/promises/real-node.ts";
import { ends, numbersOf, play, t } from "./by-hand.ts";
import { runGenerator } from "./load/generator.ts";
import { h2loadCommand, parseH2loadLog, planOpenLoop } from "./load/h2load.ts";
import { writeTargets } from "./load/request-list.ts";
import { median } from "./statistics.ts";
import { findTools } from "./tools.ts";
import { freePort } from "../test/ports/free-port.ts";

const ENOUGH_CORES = 6;
type Tools = ReturnType<typeof findTools>;

const GRACE_MS = 60_000;
const SETTLING_MS = 500;
const WRITERS = 8;
const ROUTES = 200;
const TURNS = ["at rest", "all the requests that it can take", "all the writes that it can take"] as const;

const [rounds, seconds, rate] = numbersOf([5, 4, 1000]);

await play(run);

interface Ports {
  http: number;
  admin: number;
}

async function run(): Promise<void> {
  const cores = availableParallelism();
  const note = cores < ENOUGH_CORES ? `, fewer than the ${ENOUGH_CORES} that these tenants want` : "";
  console.log(`${cores} cores${note}`);
  const tools = findTools();
  const [calm, hog] = [await freePorts(), await freePorts()];
  const node = await RealNode.start(t, {
    change: (config) => {
      config.workers = 1;
      config.groups = [{ name: "default", workers: 1 }];
      config.tenants = [tenantOf(config, "calm", calm), tenantOf(config, "hog", hog)];
    },
  });
  for (const [name, ports] of [
    ["calm", calm],
    ["hog", hog],
  ] as const)
    await write(node, name, ports, "0", "/*");
  const found = TURNS.map(() => ({ p50: [] as number[], p99: [] as number[], failures: 0, done: 0 }));
  await measure(tools, calm.http);
  for (let round = 0; round < rounds; round++) {
    for (const [i] of TURNS.entries()) {
      const stop =
        i === 0 ? async () => 0 : i === 1 ? startRequests(tools, hog.http) : startWrites(node, hog);
      await new Promise((resolve) => setTimeout(resolve, SETTLING_MS));
      const { p50Us, p99Us, failures } = await measure(tools, calm.http);
      found[i].done += await stop();
      found[i].p50.push(p50Us / 1000);
      found[i].p99.push(p99Us / 1000);
      found[i].failures += failures;
    }
  }
  const rest = median(found[0].p99);
  for (const [i, name] of TURNS.entries()) {
    const [p50, p99] = [median(found[i].p50), median(found[i].p99)];
    const figures = `p50 ${p50.toFixed(2)} ms, p99 ${p99.toFixed(2)} ms (${(p99 / rest).toFixed(2)} ×)`;
    const writes = i === 2 ? `, ${found[i].done} writes` : "";
    console.log(`${`the other tenant: ${name}`.padEnd(52)} ${figures}, ${found[i].failures} failed${writes}`);
  }
}

async function freePorts(): Promise<Ports> {
  return { http: await freePort(), admin: await freePort() };
}

/** As `cardea.tenants` makes it. */
function tenantOf(config: StaticConfig, tenant: string, ports: Ports): StaticConfig {
  const listeners = (["http", "admin"] as const).map((purpose): ListenerConfig => {
    return { purpose, address: "127.0.0.1", port: ports[purpose], proxyProtocol: false, group: "default" };
  });
  return structuredClone({ ...config, tenant, tenants: [], listeners });
}

async function write(
  node: RealNode,
  tenant: string,
  { admin }: Ports,
  id: string,
  uri: string,
): Promise<void> {
  const key = readFileSync(join(node.folder, "tenants", tenant, "admin.key"), "utf8").trim();
  const answer = await fetch(`http://127.0.0.1:${admin}/apisix/admin/routes/${id}`, {
    method: "PUT",
    headers: { "x-api-key": key },
    body: JSON.stringify({ uri, plugins: { mocking: { response_example: "x".repeat(1024) } } }),
  });
  if (!answer.ok) throw new Error(`${tenant}: ${answer.status} ${await answer.text()}`);
  await answer.arrayBuffer();
}

async function measure(tools: Tools, port: number) {
  const folder = mkdtempSync(join(tmpdir(), "cardea-tenants-"));
  const [targetsFile, logFile] = [join(folder, "targets"), join(folder, "log")];
  writeTargets(targetsFile, port, ["/"]);
  const plan = planOpenLoop(rate, seconds);
  const load = { port, targetsFile, logFile, requestsPerSecond: rate, seconds };
  const timeoutMs = seconds * 1000 + plan.openingMs + GRACE_MS;
  await runGenerator(
    tools.taskset,
    `0-${availableParallelism() - 1}`,
    h2loadCommand(tools.h2load, load, plan),
    timeoutMs,
  );
  const result = parseH2loadLog(readFileSync(logFile, "latin1"), plan);
  rmSync(folder, { recursive: true });
  return result;
}

/** Each gives what ends it. */
function startRequests(tools: Tools, port: number): () => Promise<number> {
  const args = ["--h1", "-c", "64", "-t", "1", "-D", "600", `http://127.0.0.1:${port}/`];
  const child = spawn(tools.h2load, args, { stdio: "ignore" });
  const ended = once(child, "exit");
  ends.unshift(() => child.kill("SIGKILL"));
  return async () => {
    child.kill("SIGKILL");
    await ended;
    return 0;
  };
}

function startWrites(node: RealNode, hog: Ports): () => Promise<number> {
  let isOver = false;
  let done = 0;
  const writers = Array.from({ length: WRITERS }, async (_, lane) => {
    for (let i = 0; !isOver; i++) {
      await write(node, "hog", hog, `${lane}-${i % ROUTES}`, `/${lane}/${i}`);
      done++;
    }
  });
  return async () => {
    isOver = true;
    await Promise.all(writers);
    return done;
  };
}
