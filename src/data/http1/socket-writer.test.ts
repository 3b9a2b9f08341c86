import assert from "node:assert/strict";
import { test } from "node:test";
import { readAll, socketPair } from "./socket-test-kit.ts";
import { SocketWriter } from "./socket-writer.ts";

test("what is written arrives in order, direct or not, and is complete at the end", async (t) => {
  const { near, far } = await socketPair(t);
  const drained = Promise.withResolvers<void>();
  const writer = new SocketWriter(near, () => drained.resolve());
  let expected = "";
  let blocked = 0;
  for (let i = 0; blocked < 20; i++) {
    const text = `${i}:`.padEnd(30_000, "x");
    expected += text;
    if (i % 3 === 2) writer.chunk(Buffer.from(text, "latin1"));
    else writer.text(text);
    if (writer.isBlocked) blocked++;
  }
  assert.ok(writer.unsentBytes > 0);
  const received = readAll(far);
  await drained.promise;
  assert.equal(writer.isBlocked, false);
  assert.equal(writer.unsentBytes, 0);
  writer.text("the end");
  near.end();
  assert.equal(await received, `${expected}the end`);
});

test("copies of lent bytes arrive as they were, whatever becomes of the lender's buffer and however slow the reader is", async (t) => {
  const pairs = await Promise.all([socketPair(t), socketPair(t), socketPair(t)]);
  const writers = pairs.map(({ near }) => new SocketWriter(near, () => undefined));
  const expected = pairs.map(() => "");
  const lender = Buffer.alloc(100_000);
  const sizes = [1, 3000, 4096, 4097, 16_000, 40_000, 65_536, 70_000];
  const write = (i: number): void => {
    const at = i % pairs.length;
    const size = sizes[i % sizes.length];
    lender.fill(String.fromCharCode(97 + (i % 26)));
    if (i % 5 === 0) writers[at].cork();
    writers[at].copyOf(lender.subarray(0, size));
    if (i % 5 === 0) writers[at].uncork();
    expected[at] += lender.toString("latin1", 0, size);
  };
  for (let i = 0; !writers.every(({ unsentBytes }) => unsentBytes > 500_000); i++) write(i);
  // From here on buffers of the one are used again for the others while these still wait.
  const received = pairs.map(({ far }) => readAll(far));
  for (let i = 0; i < 300; i++) {
    write(i);
    if (i % 10 === 0) await new Promise(setImmediate);
  }
  for (const { near } of pairs) near.end();
  for (const [i, text] of (await Promise.all(received)).entries()) assert.ok(text === expected[i], `${i}`);
});

test("a copy for a socket that is gone is dropped", async (t) => {
  const { near } = await socketPair(t);
  const writer = new SocketWriter(near, () => undefined);
  near.destroy();
  assert.equal(writer.copyOf(Buffer.from("late")), true);
});

test("an end behind text that the kernel has not taken comes after it", async (t) => {
  const { near, far } = await socketPair(t);
  const writer = new SocketWriter(near, () => undefined);
  let sent = 0;
  while (!writer.isBlocked) {
    writer.text("x".repeat(30_000));
    sent += 30_000;
  }
  near.end();
  assert.equal((await readAll(far)).length, sent);
});

test("a peer that reset the connection ends the socket with the error, once", async (t) => {
  const { near, far } = await socketPair(t);
  const errors: string[] = [];
  near.on("error", (error: NodeJS.ErrnoException) => errors.push(error.code!));
  const writer = new SocketWriter(near, () => undefined);
  const { promise: closed, resolve } = Promise.withResolvers<void>();
  near.on("close", () => resolve());
  far.resetAndDestroy();
  while (!near.destroyed) {
    writer.text("x");
    await new Promise(setImmediate);
  }
  await closed;
  assert.equal(errors.length, 1);
  assert.match(errors[0], /EPIPE|ECONNRESET/);
  assert.equal(writer.text("x"), true);
});
