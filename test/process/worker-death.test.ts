import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { test } from "node:test";
import { ask, Load } from "./load.ts";
import { StartedNode, testConfig, type LogLine } from "./started-node.ts";

const DIED = "a thread died and is started again";
const SERVES = "a thread serves";

/** Asks until every slot has answered, and gives the generation of each. */
async function generations(port: number): Promise<Map<number, number>> {
  const seen = new Map<number, number>();
  while (seen.size < 2) {
    const { slot, generation } = await ask(port);
    seen.set(slot, generation);
  }
  return seen;
}

/** Waits for the line that says that this generation of a thread serves. */
async function servesAgain(node: StartedNode, died: LogLine): Promise<void> {
  for (let count = 1; ; count++) {
    const line = await node.logs(SERVES, count);
    if (line["slot"] === died["slot"] && line["generation"] === (died["generation"] as number) + 1) return;
  }
}

const deaths = [
  { path: "/throw", cause: /thrown on purpose/ },
  { path: "/exit", cause: /exit code 3/ },
  { path: "/heap", cause: /memory/ },
  { path: "/loop", cause: /no heartbeat/, staleAfterMs: 3000 },
];

for (const { path, cause, staleAfterMs = 60_000 } of deaths) {
  test(`a worker that dies of ${path} is replaced alone, and connections to its socket wait for the next one`, async (t) => {
    const config = testConfig(({ supervision }) => {
      supervision.staleAfterMs = staleAfterMs;
    });
    const node = await StartedNode.serving(t, { config });
    await assert.rejects(ask(node.port, path), /socket hang up|ECONNRESET/);
    const died = await node.logs(DIED);
    assert.match(String(died["cause"]), cause);
    // Fresh connections at this moment: those of the dead worker's socket are queued, and none is refused.
    const load = new Load(node.port);
    await servesAgain(node, died);
    const after = await generations(node.port);
    const { failures, answered } = await load.stop();
    assert.deepEqual(failures, {});
    assert.ok(answered > 0);
    assert.equal(after.get(died["slot"] as number), 2);
    assert.equal(after.get(1 - (died["slot"] as number)), 1);
    assert.equal(node.lines.filter((line) => line.message === DIED).length, 1);
  });
}

test("control that dies is replaced, greets all workers again, and no request fails meanwhile", async (t) => {
  const node = await StartedNode.serving(t);
  const load = new Load(node.port);
  const control = node.portOf("admin");
  await assert.rejects(ask(control, "/die"));
  const died = await node.logs(DIED);
  assert.equal(died["thread"], "control");
  await servesAgain(node, died);
  assert.equal((await ask(control)).generation, 2);
  const greetings = new Set<number>();
  while (!greetings.has(2)) greetings.add((await ask(node.port)).greetings);
  assert.ok(greetings.has(2));
  assert.deepEqual((await load.stop()).failures, {});
});

test("a worker that dies in a loop leaves the others alone", async (t) => {
  const node = await StartedNode.serving(t);
  for (let i = 1; i <= 4; i++) {
    await assert.rejects(ask(node.port, "/exit"));
    await servesAgain(node, await node.logs(DIED, i));
  }
  const total = [...(await generations(node.port)).values()].reduce((sum, each) => sum + each, 0);
  assert.equal(total, 2 + 4);
});

test("workers that die before they listen leave no descriptor behind", async (t) => {
  const config = testConfig(({ metrics }) => {
    metrics.prefix = "broken";
  });
  const node = new StartedNode(t, { config });
  const descriptors = async (deaths: number) => {
    const { pid } = await node.logs(DIED, deaths);
    return readdirSync(`/proc/${String(pid)}/fd`).length;
  };
  const early = await descriptors(4);
  const late = await descriptors(12);
  // A thread that starts at this moment has some of its own; one leaked socket per death would be eight.
  assert.ok(late - early < 8, `${early} descriptors grew to ${late}`);
});

test("a pause of the whole process ends no worker", async (t) => {
  const node = await StartedNode.serving(t, {
    config: testConfig((config) => Object.assign(config.supervision, { staleAfterMs: 1500 })),
  });
  process.kill(node.nodePid, "SIGSTOP");
  // The pause itself is the fault to inject: twice the limit.
  await new Promise((resolve) => setTimeout(resolve, 3000));
  process.kill(node.nodePid, "SIGCONT");
  const load = new Load(node.port, { clients: 4 });
  await new Promise((resolve) => setTimeout(resolve, 2500));
  assert.deepEqual((await load.stop()).failures, {});
  assert.deepEqual(
    node.lines.filter((line) => line.message === DIED),
    [],
  );
});
