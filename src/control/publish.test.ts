import assert from "node:assert/strict";
import { test } from "node:test";
import { MessageChannel } from "node:worker_threads";
import { silent } from "../lib/silent-log.ts";
import { type ConfigurationItem, ConfigurationReader } from "../shared/configuration-bytes.ts";
import type { ConfigurationMessage } from "../shared/messages.ts";
import { Threads } from "../shared/threads.ts";
import { Publisher } from "./publish.ts";

/** A publisher over a map, and workers that apply what they are sent. */
class Bench {
  readonly threads = new Threads(new SharedArrayBuffer(Threads.bytes(3)));
  readonly items = new Map<string, string>();
  readonly publisher: Publisher;

  constructor(startRevision = 0) {
    this.publisher = new Publisher(this.threads, () => this.#all(), startRevision, silent);
  }

  *#all(): IterableIterator<ConfigurationItem> {
    for (const [id, value] of this.items) yield { kind: "route", id, value };
  }

  set(id: string, value: string | null): void {
    if (value === null) this.items.delete(id);
    else this.items.set(id, value);
    this.publisher.change({ kind: "route", id, value });
  }

  worker(slot: number): { held: Map<string, string>; types: string[]; ask(revision: number): void } {
    const { port1, port2 } = new MessageChannel();
    const held = new Map<string, string>();
    const types: string[] = [];
    this.threads.begin(slot, 1);
    this.publisher.attach(slot, 1, port1);
    port2.on("message", (message: ConfigurationMessage) => {
      types.push(message.type);
      assert.ok(message.revision > this.threads.applied(slot), "revisions are sent in order");
      if (message.type === "snapshot") held.clear();
      const reader = new ConfigurationReader(message.bytes);
      for (let i = 0; i < reader.count; i++) {
        const { id, bytes } = reader.item(i);
        if (bytes === null) held.delete(id);
        else held.set(id, bytes.text());
      }
      this.threads.acknowledge(slot, message.revision);
    });
    return { held, types, ask: (revision) => port2.postMessage({ type: "hello", revision }) };
  }
}

test("nothing is sent before the configuration is complete", async () => {
  const bench = new Bench();
  const worker = bench.worker(0);
  worker.ask(0);
  bench.set("1", "1");
  await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual(worker.types, []);
  bench.publisher.open();
  assert.deepEqual(await bench.publisher.whenApplied(bench.publisher.revision, 5000), []);
  assert.deepEqual([...worker.held], [["1", "1"]]);
  bench.publisher.close();
});

test("a worker that starts while a large snapshot is made and changes go on ends with the same content", async () => {
  const bench = new Bench();
  for (let i = 0; i < 20_000; i++) bench.items.set(`r${i}`, `${i}`);
  bench.publisher.open();
  const first = bench.worker(0);
  first.ask(0);
  const late = bench.worker(1);
  for (let i = 0; i < 50; i++) {
    bench.set(`r${i * 7}`, "changed");
    bench.set(`r${i * 11 + 1}`, null);
    bench.set(`new${i}`, "new");
    bench.publisher.flush();
    await new Promise((resolve) => setImmediate(resolve));
    if (i === 10) late.ask(0);
  }
  assert.deepEqual(await bench.publisher.whenApplied(bench.publisher.flush(), 10_000), []);
  assert.deepEqual(first.held, bench.items);
  assert.deepEqual(late.held, bench.items);
  assert.equal(first.types.filter((type) => type === "snapshot").length, 1);
  bench.publisher.close();
});

test("the revision goes on from the one in shared memory", () => {
  const bench = new Bench(5);
  bench.threads.publishedRevision = 100;
  const successor = new Publisher(bench.threads, () => [], 5, silent);
  successor.open();
  assert.ok(bench.threads.publishedRevision > 100);
  successor.close();
});

test("a worker that is dead is not waited for, one that has not applied is named", async () => {
  const bench = new Bench();
  bench.publisher.open();
  bench.threads.begin(0, 1);
  bench.threads.begin(1, 1);
  bench.threads.acknowledge(0, bench.publisher.revision);
  assert.deepEqual(await bench.publisher.whenApplied(bench.publisher.revision, 20), [1]);
  const waiting = bench.publisher.whenApplied(bench.publisher.revision, 10_000);
  bench.threads.clear(1);
  assert.deepEqual(await waiting, []);
});

test("what a worker could not use is remembered until it changes", async () => {
  const bench = new Bench();
  bench.publisher.open();
  const { port1, port2 } = new MessageChannel();
  bench.publisher.attach(0, 1, port1);
  port2.postMessage({ type: "refused", kind: "route", id: "1", reason: "no" });
  while ([...bench.publisher.refusals()].length === 0) await new Promise((resolve) => setImmediate(resolve));
  const [refusal] = bench.publisher.refusals();
  assert.deepEqual([refusal.kind, refusal.id, refusal.reason, refusal.slot], ["route", "1", "no", 0]);
  bench.set("1", "mended");
  bench.publisher.flush();
  assert.deepEqual([...bench.publisher.refusals()], []);
  bench.publisher.close();
});

test("workers are asked what runs there although there is nothing to feed them, and a silent one is named", async (t) => {
  const bench = new Bench();
  const { port1, port2 } = new MessageChannel();
  t.after(() => {
    bench.publisher.close();
    port2.close();
  });
  for (const slot of [0, 1]) {
    bench.threads.begin(slot, 1);
    bench.threads.setState(slot, "ready");
  }
  bench.publisher.attach(0, 1, port1);
  const heard = new Promise((resolve) => {
    port2.once("message", resolve);
  });
  const question = { type: "in-flight", question: 1, upstream: "1", host: "a", port: 80 } as const;
  assert.deepEqual(bench.publisher.askAll(question), [0, 1]);
  assert.deepEqual(await heard, question);
});

test("what belongs together reaches workers as one, also those that start meanwhile", async () => {
  const bench = new Bench();
  bench.items.set("0", "before");
  bench.publisher.open();
  const first = bench.worker(0);
  first.ask(0);
  assert.deepEqual(await bench.publisher.whenApplied(bench.publisher.revision, 5000), []);
  bench.set("earlier", "1");
  bench.publisher.begin();
  for (let i = 0; i < 3000; i++) bench.set(`${i}`, "after");
  const earlier = bench.publisher.flush();
  while (bench.threads.applied(0) < earlier) await bench.threads.whenChanged(bench.threads.changes, 5000);
  assert.deepEqual(Object.fromEntries(first.held), { 0: "before", earlier: "1" });
  const late = bench.worker(1);
  late.ask(0);
  const ended = bench.publisher.end();
  // Newer than what is being encoded.
  bench.set("1", "newest");
  await ended;
  bench.publisher.flush();
  assert.deepEqual(await bench.publisher.whenApplied(bench.publisher.revision, 5000), []);
  for (const { held } of [first, late]) {
    assert.deepEqual([held.size, held.get("0"), held.get("1")], [3001, "after", "newest"]);
  }
  assert.equal(first.types.length, 4);
  assert.equal(late.types[0], "snapshot");
  bench.publisher.close();
});
