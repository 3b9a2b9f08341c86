import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";

const MODULE = new URL("compact-heap.ts", import.meta.url).href;

function run(flags: string[]): string {
  const script = `import { compactHeap } from ${JSON.stringify(MODULE)};
    globalThis.waste = Array.from({ length: 200_000 }, (_, i) => ({ i }));
    globalThis.waste = null;
    const before = process.memoryUsage().heapTotal;
    compactHeap();
    const freed = before - process.memoryUsage().heapTotal;
    console.log(freed > 5_000_000, typeof globalThis.gc);`;
  const { stdout, stderr } = spawnSync(process.execPath, [...flags, "--input-type=module", "-e", script], {
    encoding: "utf8",
  });
  return stdout.trim() + stderr;
}

test("the system gets back what is garbage, and nobody else can collect", () => {
  assert.equal(run(["--expose-gc"]), "true undefined");
});

test("without the flag nothing happens", () => {
  assert.equal(run([]), "false undefined");
});
