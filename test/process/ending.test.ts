import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { once } from "node:events";
import { get } from "node:http";
import { join } from "node:path";
import { test } from "node:test";
import type { StaticConfig } from "../../src/config/static-config.ts";
import { freePort } from "../ports/free-port.ts";
import { ask } from "./load.ts";
import { isCardea, PACKAGE_FOLDER, StartedNode, testConfig } from "./started-node.ts";

const launcher = join(PACKAGE_FOLDER, "bin/cardea");

/** Where somebody listened, nobody else may come to listen. */
function listeningOn(purpose: string, port: number): StaticConfig {
  return testConfig(({ listeners }) => {
    listeners.find((listener) => listener.purpose === purpose)!.port = port;
  });
}

/** The Node.js of the machine, when it is an older one: the launcher must run there too. */
const machineNode = spawnSync("node", ["-p", "process.execPath + ' ' + process.versions.node"], {
  encoding: "utf8",
});
const [olderPath = "", olderVersion = ""] = machineNode.stdout.trim().split(" ");

const commands = [
  { name: "the launcher", command: [process.execPath, launcher, "start"], skip: false },
  {
    name: "the launcher under an older Node.js",
    command: [olderPath, launcher, "start"],
    skip: Number.parseInt(olderVersion, 10) >= 24 ? "this machine has no older one" : false,
  },
  { name: "npm start", command: ["npm", "start", "--silent"], skip: false },
];

for (const { name, command, skip } of commands) {
  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    test(`${signal} to ${name} ends with 0 and leaves no process`, { skip }, async (t) => {
      const node = await StartedNode.serving(t, { command });
      await ask(node.port);
      node.process.kill(signal);
      assert.deepEqual(await node.ended(), { code: 0, signal: null });
      assert.equal(isCardea(node.nodePid), false);
      assert.equal(node.errors, "");
    });
  }
}

test("a request that runs when SIGTERM comes gets its whole answer, and new connections are refused", async (t) => {
  const port = await freePort();
  const node = await StartedNode.serving(t, { config: listeningOn("http", port) });
  const request = get({ host: "127.0.0.1", port, path: "/slow", agent: false });
  const [response] = await once(request, "response");
  node.process.kill("SIGTERM");
  await node.logs("the node drains");
  response.resume();
  await once(response, "end");
  assert.equal(response.complete, true);
  assert.equal((await node.ended()).code, 0);
  await assert.rejects(ask(port), /ECONNREFUSED/);
});

test("a second SIGTERM does not wait for what runs", async (t) => {
  const node = await StartedNode.serving(t);
  const request = get({ host: "127.0.0.1", port: node.port, path: "/never", agent: false });
  const [response] = await once(request, "response");
  response.on("error", () => {});
  node.process.kill("SIGTERM");
  await node.logs("the node drains");
  node.process.kill("SIGTERM");
  assert.deepEqual(await node.ended(), { code: 0, signal: null });
  assert.ok(!node.lines.some((line) => line.message === "a thread did not drain in time and is ended"));
});

test("what does not drain in time is ended by force, and the exit is 0 all the same", async (t) => {
  const config = testConfig(({ supervision }) => {
    supervision.drainTimeoutMs = 200;
  });
  const node = await StartedNode.serving(t, { config });
  const request = get({ host: "127.0.0.1", port: node.port, path: "/never", agent: false });
  const [response] = await once(request, "response");
  response.on("error", () => {});
  node.process.kill("SIGTERM");
  assert.deepEqual(await node.ended(), { code: 0, signal: null });
  await node.logs("a thread did not drain in time and is ended");
});

test("a node whose launcher is killed drains and ends by itself", async (t) => {
  const node = await StartedNode.serving(t);
  const { nodePid } = node;
  node.process.kill("SIGKILL");
  // The node holds the other end of the launcher's output as long as it lives.
  await node.ended();
  assert.ok(node.lines.some((line) => line.message === "the launcher is gone: this node drains and ends"));
  assert.equal(isCardea(nodePid), false);
});

test("a node process that is killed is started again on the same sockets", async (t) => {
  const node = await StartedNode.serving(t);
  const { port, nodePid } = node;
  process.kill(nodePid, "SIGKILL");
  await node.logs("the node process died and is started again");
  // Connects while there is no node at all: the launcher's socket queues it.
  assert.notEqual((await ask(port)).pid, nodePid);
  await node.logs("the node serves", 2);
  assert.equal(node.port, port);
});

test("a node process that is terminated directly ends on purpose, and the launcher with it", async (t) => {
  const node = await StartedNode.serving(t);
  process.kill(node.nodePid, "SIGTERM");
  assert.deepEqual(await node.ended(), { code: 0, signal: null });
});

test("SIGHUP to the launcher reaches every thread and ends nothing", async (t) => {
  const node = await StartedNode.serving(t);
  node.process.kill("SIGHUP");
  await Promise.all([0, 1].map((count) => node.logs("logs reopened", count + 1)));
  assert.equal((await ask(node.port)).pid, node.nodePid);
});
