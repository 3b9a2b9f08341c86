import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { DataFolderInUseError, DataFolderLock } from "./data-folder-lock.ts";

function folder(t: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), "cardea-lock-"));
  t.after(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

/** What another process says that tries to take the lock, and then dies without letting go. */
function takeElsewhere(path: string): { out: string; err: string } {
  const module = new URL("./data-folder-lock.ts", import.meta.url).href;
  const code = `import { DataFolderLock } from ${JSON.stringify(module)};
    try { DataFolderLock.take(${JSON.stringify(path)}); console.log("taken"); process.kill(process.pid, "SIGKILL"); }
    catch (error) { console.log(error.name + ": " + error.message); }`;
  const child = spawnSync(process.execPath, ["--input-type=module", "-e", code], { encoding: "utf8" });
  return { out: child.stdout.trim(), err: child.stderr.trim() };
}

test("a second process is refused with the folder and the holder's pid, and may have it after the release", (t) => {
  const path = join(folder(t), "made", "by-take");
  const lock = DataFolderLock.take(path);
  const refused = takeElsewhere(path);
  assert.match(refused.out, new RegExp(`^DataFolderInUseError: .*${path}.*process ${process.pid}`));
  lock.release();
  assert.deepEqual(takeElsewhere(path), { out: "taken", err: "" });
});

test("a holder that was killed leaves no lock behind", (t) => {
  const path = folder(t);
  assert.equal(takeElsewhere(path).out, "taken");
  DataFolderLock.take(path).release();
});

test("the same process cannot take it twice", (t) => {
  const path = folder(t);
  const lock = DataFolderLock.take(path);
  t.after(() => lock.release());
  assert.throws(() => DataFolderLock.take(path), DataFolderInUseError);
});
