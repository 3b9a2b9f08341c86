import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { AccessLog } from "./access-log.ts";
import type { HttpExchange } from "./exchange/exchange.ts";

const FORMAT = { format: "$request", escape: "default", bufferBytes: 4096 } as const;
const EXCHANGE = { variable: () => "GET / HTTP/1.1" } as unknown as HttpExchange;

function newFolder(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), "cardea-log-"));
  t.after(() => rmSync(folder, { recursive: true }));
  return folder;
}

function opened(path: string) {
  const errors: string[] = [];
  const log = { error: (message: string) => errors.push(message) } as never;
  let dropped = 0;
  const accessLog = new AccessLog({ ...FORMAT, path }, log, (lines) => {
    dropped += lines;
  });
  return { accessLog, errors, dropped: () => dropped };
}

test("what was written before the end is in the file", async (t) => {
  const path = join(newFolder(t), "logs", "access.log");
  const { accessLog, dropped } = opened(path);
  for (let i = 0; i < 1000; i++) accessLog.write(EXCHANGE);
  await accessLog.close();
  assert.equal(readFileSync(path, "utf8"), "GET / HTTP/1.1\n".repeat(1000));
  assert.equal(dropped(), 0);
});

test("lines that the disk refuses are counted, each of them", async (t) => {
  const file = join(newFolder(t), "file");
  writeFileSync(file, "");
  const { accessLog, errors, dropped } = opened(join(file, "access.log"));
  for (let i = 0; i < 1000; i++) accessLog.write(EXCHANGE);
  await accessLog.close();
  assert.equal(dropped(), 1000);
  assert.ok(errors.length > 0);
});

test("lines beyond what may wait for the disk are counted, and the others are written", async (t) => {
  const path = join(newFolder(t), "access.log");
  const { accessLog, dropped } = opened(path);
  // Nothing can be written before this turn is over.
  for (let i = 0; i < 50_000; i++) accessLog.write(EXCHANGE);
  await accessLog.close();
  const written = readFileSync(path, "utf8").split("\n").length - 1;
  assert.ok(dropped() > 0 && written > 0);
  assert.equal(dropped() + written, 50_000);
});
