import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, mock, test, type TestContext } from "node:test";
import { SnapshotKeeper } from "./keeper.ts";
import { SealedFile } from "./sealed-file.ts";
import { readSnapshot, type Snapshot, writeSnapshot } from "./snapshot.ts";

const folder = mkdtempSync(join(tmpdir(), "cardea-snapshot-"));
after(() => rmSync(folder, { recursive: true }));

const secret = randomBytes(32);
const BEGIN_MS = 1_700_000_000_000;
const SOURCE = "etcd /apisix";
const SNAPSHOT: Snapshot = {
  identity: "cluster-1",
  revision: 70,
  published: 1007,
  confirmedAt: BEGIN_MS - 5000,
  items: [
    { key: "/routes/1", value: '{"uri":"/ü"}', createRevision: 3, modRevision: 70 },
    { key: "/routes/2", value: "not\njson", createRevision: 4, modRevision: 4 },
  ],
};

function fileNamed(name: string): SealedFile {
  return new SealedFile(join(folder, name), secret, "snapshot");
}

test("a snapshot comes back as it was taken", async () => {
  const file = fileNamed("whole");
  assert.equal(await readSnapshot(file, SOURCE), null);
  await writeSnapshot(file, SOURCE, SNAPSHOT);
  assert.deepEqual(await readSnapshot(file, SOURCE), SNAPSHOT);
  await writeSnapshot(file, SOURCE, { ...SNAPSHOT, items: [] });
  assert.deepEqual((await readSnapshot(file, SOURCE))!.items, []);
});

test("a snapshot that was confirmed later says so", async () => {
  const file = fileNamed("confirmed");
  await writeSnapshot(file, SOURCE, SNAPSHOT);
  await file.touch(1_700_000_900_000);
  assert.equal((await readSnapshot(file, SOURCE))!.confirmedAt, 1_700_000_900_000);
});

test("a snapshot of another store is refused", async () => {
  const file = fileNamed("other");
  await writeSnapshot(file, SOURCE, SNAPSHOT);
  await assert.rejects(
    readSnapshot(file, "etcd /tenant"),
    /of another store: etcd \/apisix, expected etcd \/tenant/,
  );
});

test("a sealed file that holds no snapshot, or less than it says, is refused", async () => {
  const file = fileNamed("less");
  for (const lines of [["nonsense"], [], ["nonsense\n"], ['{"source":"etcd /apisix","items":1}\n']]) {
    await file.write(lines, 1);
    await assert.rejects(readSnapshot(file, SOURCE), /cannot be used/);
  }
});

function keeperOn(t: TestContext, file: SealedFile) {
  mock.timers.enable({ apis: ["setTimeout", "Date"], now: BEGIN_MS });
  t.after(() => mock.timers.reset());
  const told: string[] = [];
  const tell = (message: string) => void told.push(message);
  const seen = { takenAt: [] as number[], snapshot: SNAPSHOT as Snapshot | null };
  const keeper = new SnapshotKeeper({
    file,
    source: SOURCE,
    intervalMs: 10_000,
    take: () => {
      seen.takenAt.push(Date.now());
      return seen.snapshot;
    },
    confirmedAt: () => Date.now(),
    log: { info: tell, warn: tell, error: tell },
  });
  return { keeper, told, seen };
}

/** A second of the virtual clock, and a turn for the disk, which has none. */
async function second(): Promise<void> {
  mock.timers.tick(1000);
  await new Promise((resolve) => setImmediate(resolve));
}

test("any number of changes make one write within the interval", async (t) => {
  const file = fileNamed("rate");
  const { keeper, seen } = keeperOn(t, file);
  for (let i = 0; i < 100; i++) keeper.changed();
  assert.deepEqual(seen.takenAt, []);
  while (seen.takenAt.length < 3) {
    keeper.changed();
    await second();
  }
  await keeper.close();
  const [first, ...later] = seen.takenAt;
  assert.equal(first, BEGIN_MS + 1000);
  for (const [i, at] of later.entries()) assert.ok(at - seen.takenAt[i] >= 10_000, String(seen.takenAt));
});

test("while nothing changes, the time of the file goes on", async (t) => {
  const file = fileNamed("still");
  const { keeper, seen } = keeperOn(t, file);
  keeper.changed();
  while (!existsSync(file.path)) await second();
  assert.equal(statSync(file.path).mtimeMs, SNAPSHOT.confirmedAt);
  while (statSync(file.path).mtimeMs === SNAPSHOT.confirmedAt) await second();
  assert.equal(seen.takenAt.length, 1);
  await keeper.close();
});

test("what is not written yet is written at the end", async (t) => {
  const file = fileNamed("end");
  const { keeper } = keeperOn(t, file);
  keeper.changed();
  await keeper.close();
  assert.deepEqual(await readSnapshot(file, SOURCE), SNAPSHOT);
});

test("what is not complete is not written", async (t) => {
  const file = fileNamed("incomplete");
  const { keeper, seen } = keeperOn(t, file);
  seen.snapshot = null;
  keeper.changed();
  while (seen.takenAt.length < 1) await second();
  await keeper.close();
  assert.ok(!existsSync(file.path));
});

test("a disk that takes nothing is told once, and tried again", async (t) => {
  const file = new SealedFile(join(folder, "missing", "snapshot"), secret, "snapshot");
  const { keeper, told, seen } = keeperOn(t, file);
  keeper.changed();
  while (seen.takenAt.length < 3) await second();
  await keeper.close();
  assert.deepEqual(told, ["the snapshot cannot be written"]);
});

test("a snapshot that cannot be used is told, and nothing is given", async (t) => {
  const file = fileNamed("damaged");
  const { keeper, told } = keeperOn(t, file);
  assert.equal(await keeper.read(), null);
  writeFileSync(file.path, "");
  assert.equal(await keeper.read(), null);
  assert.deepEqual(told, [
    "there is no snapshot of an earlier configuration",
    "there is a snapshot of an earlier configuration, but it is of no use",
  ]);
  await keeper.close();
});
