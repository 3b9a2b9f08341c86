/**
 * What a node that has nothing to do takes: launcher, supervisor, control and two workers with all listeners, the
 * embedded store and one route, from a data folder that is new (so the first start is held to it, too).
 *
 * Counted is the proportional set size of the whole process tree, in which a page that processes share counts once:
 * the text of the Node.js binary, some 50 MB of it. Other processes on the same binary, such as this test, carry a
 * part of that, so the anonymous memory, which nobody shares, has a bound of its own. Measured when this was written,
 * on Node 24.21 with nothing else on the binary: 131 MB (anonymous 79) at a start with a route, 144 MB (92) after the
 * first write. Before it was 257 MB: types were stripped in every thread, TypeBox was loaded, heaps kept what loading
 * left behind, and the launcher ran on another binary.
 */

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { get } from "node:http";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { test } from "node:test";
import { parseStaticConfig } from "../../src/config/load.ts";
import { PACKAGE_FOLDER, temporaryFolder } from "./started-node.ts";

const MOST_MB = 150;
/** The rest is the binary alone. */
const MOST_ANONYMOUS_MB = 100;
const SETTLING_STEP_MS = 500;
const SETTLING_STEPS = 400;

interface ServesLine {
  message: string;
  listeners: string[];
}

test(
  "an idle node with two workers takes at most 150 MB",
  { skip: existsSync("/proc/self/smaps_rollup") ? false : "the system does not tell" },
  async (t) => {
    const folder = temporaryFolder(t);
    const parts = join(temporaryFolder(t), "parts.json");
    writeFileSync(parts, JSON.stringify({ config: twoWorkers() }));
    const env: NodeJS.ProcessEnv = { ...process.env, CARDEA_TEST_PARTS: parts, CARDEA_DATA: folder };
    for (const name of ["NODE_TEST_CONTEXT", "NODE_COMPILE_CACHE", "NODE_OPTIONS"]) delete env[name];
    const node = spawn(join(PACKAGE_FOLDER, "bin/cardea"), ["start"], {
      env,
      stdio: ["ignore", "pipe", "inherit"],
    });
    const closed = once(node, "close");
    t.after(async () => {
      node.kill("SIGTERM");
      await closed;
    });

    const ports = await portsWhenServing(node.stdout);
    const key = readFileSync(join(folder, "admin.key"), "utf8").trim();
    const answer = await fetch(`http://127.0.0.1:${ports.get("admin")}/apisix/admin/routes/1`, {
      method: "PUT",
      headers: { "x-api-key": key },
      body: JSON.stringify({ uri: "/*", upstream: { type: "roundrobin", nodes: { "127.0.0.1:1": 1 } } }),
    });
    assert.equal(answer.status, 201);
    // The node at port 1 refuses: the route is in service.
    while ((await status(ports.get("http")!)) !== 502);

    const tree = treeOf(node.pid!);
    assert.equal(tree.length, 2, "launcher and node process");
    // Control gives back what its start left behind when it has been left alone for some seconds.
    let [anonymousMb, wholeMb] = [sum(tree, "Anonymous"), sum(tree, "Pss")];
    for (let i = 0; i < SETTLING_STEPS && (anonymousMb > MOST_ANONYMOUS_MB || wholeMb > MOST_MB); i++) {
      await new Promise((resolve) => setTimeout(resolve, SETTLING_STEP_MS));
      [anonymousMb, wholeMb] = [sum(tree, "Anonymous"), sum(tree, "Pss")];
    }
    t.diagnostic(`${wholeMb.toFixed(1)} MB, of which anonymous ${anonymousMb.toFixed(1)} MB`);
    assert.ok(wholeMb <= MOST_MB, `${wholeMb} MB`);
    assert.ok(anonymousMb <= MOST_ANONYMOUS_MB, `${anonymousMb} MB are anonymous`);
  },
);

/** As by default, but for the ports. */
function twoWorkers() {
  const { config } = parseStaticConfig("(test)", "", {});
  config.workers = 2;
  config.groups = [{ name: "default", workers: 2 }];
  // Ports that the system chooses for one address of the data path are one.
  const addressOf = (purpose: string): string => (purpose === "https" ? "127.0.0.2" : "127.0.0.1");
  config.listeners = config.listeners.map((listener) => ({
    ...listener,
    address: addressOf(listener.purpose),
    port: 0,
  }));
  return config;
}

async function portsWhenServing(output: NodeJS.ReadableStream): Promise<Map<string, number>> {
  for await (const line of createInterface({ input: output })) {
    if (!line.includes('"the node serves"')) continue;
    output.resume();
    const { listeners } = JSON.parse(line) as ServesLine;
    return new Map(
      listeners.map((text) => [
        text.slice(0, text.indexOf(" ")),
        Number(text.slice(text.lastIndexOf(":") + 1)),
      ]),
    );
  }
  throw new Error("the node ended before it served");
}

function status(port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    get({ host: "127.0.0.1", port, agent: false }, (response) => {
      response.resume();
      resolve(response.statusCode!);
    }).on("error", reject);
  });
}

/** The process and all that come from it. */
function treeOf(pid: number): number[] {
  const children = readdirSync(`/proc/${pid}/task`).flatMap((thread) =>
    readFileSync(`/proc/${pid}/task/${thread}/children`, "utf8").split(" ").filter(Boolean).map(Number),
  );
  return [pid, ...children.flatMap(treeOf)];
}

/** Of this line of their smaps_rollup, in MB. */
function sum(pids: number[], name: string): number {
  let kilobytes = 0;
  for (const pid of pids) {
    const found = new RegExp(`^${name}: +(\\d+) kB`, "m").exec(
      readFileSync(`/proc/${pid}/smaps_rollup`, "utf8"),
    );
    kilobytes += Number(found![1]);
  }
  return kilobytes / 1024;
}
