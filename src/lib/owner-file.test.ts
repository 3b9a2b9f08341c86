import assert from "node:assert/strict";
import fs, { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { mock, test, type TestContext } from "node:test";
import { reserveRevisions } from "../control/revision-reserve.ts";
import { readOwnerFile, writeOwnerFile } from "./owner-file.ts";

function newFolder(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), "cardea-owner-"));
  t.after(() => rmSync(folder, { recursive: true }));
  return folder;
}

/** What is flushed to the disk, by the inode, and what is renamed, in order. */
function watchDisk(t: TestContext): string[] {
  const seen: string[] = [];
  const { fsyncSync, renameSync } = fs;
  const watched = [
    mock.method(fs, "fsyncSync", (descriptor: number) => {
      seen.push(`flush ${fs.fstatSync(descriptor).ino}`);
      fsyncSync(descriptor);
    }),
    mock.method(fs, "renameSync", (from: string, to: string) => {
      seen.push(`rename ${statSync(from).ino}`);
      renameSync(from, to);
    }),
  ];
  syncBuiltinESMExports();
  t.after(() => {
    for (const each of watched) each.mock.restore();
    syncBuiltinESMExports();
  });
  return seen;
}

test("a secret is written for its owner only, whatever an interrupted write left there", (t) => {
  const file = join(newFolder(t), "secret");
  assert.equal(readOwnerFile(file), null);
  writeFileSync(`${file}.new`, "rest", { mode: 0o666 });
  writeOwnerFile(file, "text");
  assert.equal(readOwnerFile(file), "text");
  assert.equal(statSync(file).mode & 0o777, 0o600);
});

const writes: Record<string, (folder: string) => string> = {
  "a secret": (folder) => {
    writeOwnerFile(join(folder, "secret"), "text");
    return join(folder, "secret");
  },
  "the range of published revisions": (folder) => {
    reserveRevisions(folder);
    return join(folder, "published-revision");
  },
};

for (const [what, write] of Object.entries(writes)) {
  test(`${what} is on the disk before it has its name, and the name before anything rests on it`, (t) => {
    const folder = newFolder(t);
    const seen = watchDisk(t);
    const file = write(folder);
    assert.ok(readFileSync(file, "utf8").length > 0);
    const [inode, folderInode] = [statSync(file).ino, statSync(folder).ino];
    assert.deepEqual(seen, [`flush ${inode}`, `rename ${inode}`, `flush ${folderInode}`]);
  });
}
