import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { test } from "node:test";
import { freePort } from "../ports/free-port.ts";
import { ask, Load } from "./load.ts";
import { StartedNode, testConfig } from "./started-node.ts";

const HANDED_OVER = "the new node serves, the old one drains";
const GIVEN_UP = "the upgrade is given up, the old node goes on";

const replacingLauncher = fileURLToPath(new URL("stand-ins/replacing-launcher.ts", import.meta.url));

for (const keepAlive of [false, true]) {
  const how = keepAlive ? "kept-alive" : "fresh";

  test(`workers that are drained and replaced lose no request on ${how} connections`, async (t) => {
    const node = await StartedNode.serving(t, { command: [process.execPath, replacingLauncher, "8"] });
    const load = new Load(node.port, { keepAlive });
    node.process.kill("SIGUSR1");
    await node.logs("all replaced");
    const { failures, answered } = await load.stop();
    assert.deepEqual(failures, {});
    assert.ok(answered > 0);
    const served = node.lines.filter(
      (line) => line.message === "a thread serves" && line["thread"] === "worker",
    );
    assert.equal(served.length, 2 + 8);
  });

  test(`upgrades lose no request on ${how} connections`, async (t) => {
    const node = await StartedNode.serving(t);
    const load = new Load(node.port, { keepAlive });
    const pids: number[] = [node.nodePid];
    for (let i = 1; i <= 3; i++) {
      node.process.kill("SIGUSR2");
      const line = await node.logs(HANDED_OVER, i);
      pids.push(line["new"] as number);
    }
    await ask(node.port);
    const { failures, processes } = await load.stop();
    assert.deepEqual(failures, {});
    assert.equal(new Set(pids).size, 4);
    assert.ok(processes.size > 1);
  });
}

test("an upgrade reads the configuration anew: more workers, and listeners that come and go", async (t) => {
  // Where somebody listened, nobody else may come to listen.
  const admin = await freePort();
  const first = testConfig(({ listeners }) => {
    listeners.find(({ purpose }) => purpose === "admin")!.port = admin;
  });
  const node = await StartedNode.serving(t, { config: first });
  const http = node.port;
  const load = new Load(http);
  node.configure(
    testConfig((config) => {
      config.workers = 3;
      config.groups = [{ name: "default", workers: 3 }];
      config.metrics.prefix = "second";
      config.listeners = config.listeners.filter((listener) => listener.purpose !== "admin");
      config.listeners.push({ ...config.listeners[0], purpose: "status", group: "" });
    }),
  );
  node.process.kill("SIGUSR2");
  await node.logs(HANDED_OVER);
  assert.deepEqual((await load.stop()).failures, {});
  assert.equal(node.port, http);
  const slots = new Set<number>();
  while (slots.size < 3) {
    const answer = await ask(http);
    if (answer.marker === "second") slots.add(answer.slot);
  }
  assert.equal(slots.size, 3);
  assert.equal((await ask(node.portOf("status"))).generation, 1);
  await node.logs("the old node has ended");
  await assert.rejects(ask(admin), /ECONNREFUSED/);
});

const brokenNodes = [
  { what: "whose workers cannot start", marker: "broken" },
  { what: "that meets a fatal error", marker: "fatal" },
];

for (const { what, marker } of brokenNodes) {
  test(`a new node ${what} is given up, and the old one goes on with its control`, async (t) => {
    const node = await StartedNode.serving(t);
    const { nodePid } = node;
    const load = new Load(node.port);
    node.configure(
      testConfig((config) => {
        config.metrics.prefix = marker;
      }),
    );
    node.process.kill("SIGUSR2");
    await node.logs(GIVEN_UP);
    // Workers of the new node may have served before it was given up: they finish what they took.
    assert.deepEqual((await load.stop()).failures, {});
    assert.equal((await ask(node.port)).pid, nodePid);
    assert.equal((await ask(node.portOf("admin"))).pid, nodePid);
  });
}
