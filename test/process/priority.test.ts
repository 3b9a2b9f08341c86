/** Which threads of a node let others go first. */

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { RealNode } from "../promises/real-node.ts";

/** Niceness of the threads of a process by their names (proc(5), field 19 of stat). */
function nicenesses(pid: number): Map<string, Set<number>> {
  const found = new Map<string, Set<number>>();
  for (const thread of readdirSync(`/proc/${pid}/task`)) {
    const stat = readFileSync(`/proc/${pid}/task/${thread}/stat`, "latin1");
    const name = stat.slice(stat.indexOf("(") + 1, stat.lastIndexOf(")"));
    const niceness = Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[16]);
    found.set(name, (found.get(name) ?? new Set()).add(niceness));
  }
  return found;
}

/** Of setpriority(2). */
const LOWEST = 19;

const isLinux = process.platform === "linux";

test(
  "control and V8's helpers let workers go first, and nothing else of the node is slower for it",
  { skip: !isLinux },
  async (t) => {
    const node = await RealNode.start(t);
    const found = nicenesses(node.pid);
    const own = nicenesses(process.pid).values().next().value!.values().next().value!;
    const lower = Math.min(own + 5, LOWEST);
    const others = new Set(["control", "V8Worker"]);
    for (const [name, values] of found)
      assert.deepEqual(values, new Set([others.has(name) ? lower : own]), name);
    for (const name of others) assert.ok(found.has(name), [...found.keys()].join());
    assert.ok(found.has("worker 0") && found.has("libuv-worker"), [...found.keys()].join());
  },
);
