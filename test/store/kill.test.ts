import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { test } from "node:test";
import { EmbeddedStore } from "../../src/store/embedded/store.ts";

const KILLS = Number(process.env.CARDEA_STORE_KILLS ?? 20);
const bounds = { historyRevisions: 1000, historyDays: 30 };

/** Runs the writer until it has acknowledged `count` writes, kills it, and gives what it acknowledged. */
async function writeAndKill(file: string, start: number, count: number): Promise<Map<number, number>> {
  const script = new URL("writer-process.ts", import.meta.url).pathname;
  const child = spawn(process.execPath, [script, file, String(start)], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const closed = once(child, "close");
  const acknowledged = new Map<number, number>();
  for await (const line of createInterface({ input: child.stdout })) {
    const [number, revision] = line.split(" ").map(Number) as [number, number];
    // A kill may cut the last line; a whole one has both numbers.
    if (Number.isSafeInteger(revision) && revision > 0) acknowledged.set(number, revision);
    if (acknowledged.size >= count) child.kill("SIGKILL");
  }
  await closed;
  return acknowledged;
}

test("P2: kill -9 during writes loses no acknowledged write", async () => {
  const folder = mkdtempSync(join(tmpdir(), "cardea-kill-"));
  const file = join(folder, "store.db");
  let revisionBefore = 0;
  for (let round = 0; round < KILLS; round++) {
    const start = round * 1_000_000;
    const acknowledged = await writeAndKill(file, start, 1 + round * 7);
    assert.ok(acknowledged.size > 0);
    const store = new EmbeddedStore({ file, ...bounds });
    const state = await store.load();
    const values = new Map(state.items.map((item) => [item.key, item]));
    for (const [number, revision] of acknowledged) {
      const item = values.get(`/n/${number}`);
      // The cut line of a killed writer can show a shorter revision; what counts is that the write is there.
      assert.equal(
        item?.value,
        String(number),
        `write ${number} of round ${round} was acknowledged and is lost`,
      );
      assert.ok(revision <= state.revision);
    }
    const newest = values.get("/newest")!;
    assert.equal(values.get(`/n/${newest.value}`)!.modRevision, newest.modRevision, "half a batch was kept");
    assert.ok(state.revision > revisionBefore, "the revision went back");
    revisionBefore = state.revision;
    await store.close();
  }
  rmSync(folder, { recursive: true });
});
