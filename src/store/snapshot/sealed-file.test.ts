import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import files from "node:fs/promises";
import { syncBuiltinESMExports } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, mock, test } from "node:test";
import { openSecret, SealedFile, SealedFileError } from "./sealed-file.ts";

const folder = mkdtempSync(join(tmpdir(), "cardea-sealed-"));
after(() => rmSync(folder, { recursive: true }));

const secret = randomBytes(32);
const TEXT = 'routes "/secret-path" ü€𝄞\n'.repeat(100);
const AT_MS = 1_700_000_000_000;

async function readAll(file: SealedFile): Promise<string | null> {
  let text = "";
  return (await file.read((piece) => (text += piece))) ? text : null;
}

async function written(name: string): Promise<SealedFile> {
  const file = new SealedFile(join(folder, name), secret, "test");
  await file.write([TEXT], AT_MS);
  return file;
}

test("what was sealed is read again, by its owner only, and stands nowhere in the clear", async () => {
  const file = await written("plain");
  assert.equal(await readAll(file), TEXT);
  assert.equal(statSync(file.path).mode & 0o777, 0o600);
  assert.ok(!readFileSync(file.path, "latin1").includes("secret-path"));
  assert.equal(await file.changedAt(), AT_MS);
  assert.ok(!readdirSync(folder).some((name) => name.endsWith(".new")));
});

test("many small texts and one large one come back as they were", async () => {
  const file = new SealedFile(join(folder, "large"), secret, "test");
  const texts = [...Array.from({ length: 20_000 }, (_, i) => `${i} €\n`), "𝄞".repeat(900_000)];
  await file.write(texts, AT_MS);
  assert.equal(await readAll(file), texts.join(""));
});

test("a file is on the disk before it takes the place of the one before, and its name then, too", async (t) => {
  const file = await written("flushed");
  const seen: string[] = [];
  const { rename } = files;
  const handle = await files.open(file.path);
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the prototype of a handle is one as far as is asked
  const handles = Object.getPrototypeOf(handle) as typeof handle;
  await handle.close();
  const { sync } = handles;
  const watched = [
    mock.method(handles, "sync", async function (this: typeof handle) {
      seen.push(`flush ${(await this.stat()).ino}`);
      await sync.call(this);
    }),
    mock.method(files, "rename", async (from: string, to: string) => {
      seen.push(`rename ${statSync(from).ino}`);
      await rename(from, to);
    }),
  ];
  syncBuiltinESMExports();
  t.after(() => {
    for (const each of watched) each.mock.restore();
    syncBuiltinESMExports();
  });
  await file.write([TEXT], AT_MS);
  const [inode, folderInode] = [statSync(file.path).ino, statSync(folder).ino];
  assert.deepEqual(seen, [`flush ${inode}`, `rename ${inode}`, `flush ${folderInode}`]);
});

test("where there is no file, nothing is read", async () => {
  const file = new SealedFile(join(folder, "none"), secret, "test");
  assert.equal(await readAll(file), null);
  assert.equal(await file.changedAt(), null);
});

test("a file that is cut off anywhere is refused", async () => {
  const file = await written("cut");
  const bytes = readFileSync(file.path);
  for (const length of [0, 1, 10, 32, 47, 48, 49, bytes.length - 17, bytes.length - 16, bytes.length - 1]) {
    writeFileSync(file.path, bytes.subarray(0, length));
    await assert.rejects(readAll(file), SealedFileError, `${length} bytes`);
  }
});

test("a file in which any byte was changed is refused", async () => {
  const file = await written("changed");
  const bytes = readFileSync(file.path);
  for (let at = 0; at < bytes.length; at += at < 64 || at > bytes.length - 20 ? 1 : 97) {
    const other = Buffer.from(bytes);
    other[at] ^= 0x20;
    writeFileSync(file.path, other);
    await assert.rejects(readAll(file), SealedFileError, `byte ${at}`);
  }
  writeFileSync(file.path, Buffer.concat([bytes, Buffer.from("x")]));
  await assert.rejects(readAll(file), SealedFileError);
});

test("another key, or the key of another purpose, opens nothing", async () => {
  const file = await written("foreign");
  await assert.rejects(readAll(new SealedFile(file.path, randomBytes(32), "test")), /another key/);
  await assert.rejects(readAll(new SealedFile(file.path, secret, "other")), /another key/);
});

test("a write that fails leaves the file as it was, and nothing beside it", async () => {
  const file = await written("kept");
  const failing = function* () {
    yield TEXT;
    throw new Error("no more");
  };
  await assert.rejects(file.write(failing(), AT_MS), /no more/);
  assert.equal(await readAll(file), TEXT);
  assert.ok(!readdirSync(folder).includes("kept.new"));
});

test("the secret is made once, for its owner only, and a file with something else is refused", () => {
  const file = join(folder, "secret.key");
  const made = openSecret(file);
  assert.equal(made.length, 32);
  assert.deepEqual(openSecret(file), made);
  assert.equal(statSync(file).mode & 0o777, 0o600);
  writeFileSync(file, "short\n");
  assert.throws(() => openSecret(file), /secret\.key: given \d+ bytes, expected a key of 32/);
});
