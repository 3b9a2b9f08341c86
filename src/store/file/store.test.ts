/** A file as a store: what is read and watched is what the contract says; versions are taken whole or refused. */

import assert from "node:assert/strict";
import { mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { StoreUnavailableError } from "../contract.ts";
import { WatchRecorder } from "../testkit.ts";
import { FileStore } from "./store.ts";

class Subject {
  readonly store: FileStore;
  readonly errors: string[] = [];
  readonly #file: string;

  constructor(t: TestContext, text: string | null) {
    const folder = mkdtempSync(join(tmpdir(), "cardea-file-"));
    this.#file = join(folder, "apisix.yaml");
    if (text !== null) this.write(text);
    this.store = new FileStore({
      file: this.#file,
      format: "yaml",
      env: {},
      check: (_key, value) => (value["bad"] === true ? { message: "it is bad", pointer: "/bad" } : null),
      log: { info: () => {}, warn: () => {}, error: (message) => void this.errors.push(message) },
    });
    t.after(async () => {
      await this.store.close();
      rmSync(folder, { recursive: true });
    });
  }

  write(text: string): void {
    writeFileSync(`${this.#file}.new`, `${text}\n#END`);
    renameSync(`${this.#file}.new`, this.#file);
  }

  remove(): void {
    rmSync(this.#file);
  }

  /** A version that the store has looked at. */
  async change(text: string): Promise<void> {
    this.write(text);
    await this.look();
  }

  /** A look that is under way may have begun before the change. */
  async look(): Promise<void> {
    await this.store.look();
    await this.store.look();
  }

  async keys(): Promise<string[]> {
    return (await this.store.load()).items.map((item) => item.key);
  }
}

const ONE = "routes: [{ id: 1 }]";

test("what stands in the file is read", async (t) => {
  const { store } = new Subject(t, ONE);
  const item = { key: "/routes/1", value: '{"id":1}', createRevision: 1, modRevision: 1 };
  assert.deepEqual(await store.load(), { revision: 1, items: [item] });
  assert.deepEqual(await store.get("/routes/1"), item);
  assert.equal(await store.get("/routes/2"), null);
  assert.notEqual(store.identity, "");
  assert.deepEqual(await store.history(), []);
});

test("a new version is one change with what differs", async (t) => {
  const subject = new Subject(t, "routes: [{ id: 1 }, { id: 2 }, { id: 3 }]");
  const { store } = subject;
  const recorder = new WatchRecorder(store, (await store.load()).revision);
  await subject.change("routes: [{ id: 1 }, { id: 2, uri: /a }]\nupstreams: [{ id: 1 }]");
  assert.deepEqual(recorder.revisions, [2]);
  const events = recorder.changes[0].events.map((event) =>
    event.type === "put" ? `put ${event.item.key} ${event.item.modRevision}` : `delete ${event.key}`,
  );
  assert.deepEqual(events, ["put /routes/2 2", "put /upstreams/1 2", "delete /routes/3"]);
  assert.equal((await store.get("/routes/1"))!.modRevision, 1);
  recorder.stop();
});

test("the order of the file is the order of the resources", async (t) => {
  const subject = new Subject(t, "routes: [{ id: 1 }, { id: 2 }]");
  await subject.store.load();
  await subject.change("routes: [{ id: 2 }, { id: 1 }]");
  const { items } = await subject.store.load();
  const places = items.map(({ key, createRevision, modRevision }) => [key, createRevision, modRevision]);
  assert.deepEqual(places, [
    ["/routes/2", 1, 2],
    ["/routes/1", 2, 2],
  ]);
});

test("a file that was only touched is no change", async (t) => {
  const subject = new Subject(t, ONE);
  await subject.store.load();
  await subject.change(`# the same\n${ONE}`);
  assert.equal((await subject.store.load()).revision, 1);
});

test("a watch from elsewhere than the present asks for a resync", async (t) => {
  const { store } = new Subject(t, ONE);
  await store.load();
  for (const from of [0, 5]) {
    const recorder = new WatchRecorder(store, from);
    await recorder.until((seen) => seen.resyncs === 1);
    recorder.stop();
  }
});

test("an ended watch hears nothing more", async (t) => {
  const subject = new Subject(t, ONE);
  const recorder = new WatchRecorder(subject.store, (await subject.store.load()).revision);
  recorder.stop();
  await subject.change("routes: []");
  assert.deepEqual(recorder.changes, []);
});

const BROKEN: [what: string, text: string, told: RegExp][] = [
  ["cannot be read as YAML", "routes: [", /apisix\.yaml:\d+:\d+ not valid YAML/],
  ["breaks a resource", "routes:\n  - id: 1\n  - id: 2\n    bad: true", /yaml:4:10 \/routes\/2: it is bad/],
  ["names a type that is none", "routs: []", /yaml:1:1 routs: unknown type/],
];
for (const [what, text, told] of BROKEN) {
  test(`a version that ${what} leaves the one before in service, is told, and is mended by the next`, async (t) => {
    const subject = new Subject(t, ONE);
    const before = await subject.store.load();
    await subject.change(text);
    assert.deepEqual(await subject.store.load(), before);
    assert.ok(subject.store.isRefusing);
    assert.match(subject.errors[0], told);
    assert.match(subject.errors[1], /refused: the version before stays in service/);
    await subject.change("routes: [{ id: 2 }]");
    assert.ok(!subject.store.isRefusing);
    assert.deepEqual(await subject.keys(), ["/routes/2"]);
  });
}

test("a file that is gone leaves the version before in service, and coming back unchanged is no change", async (t) => {
  const subject = new Subject(t, ONE);
  const before = await subject.store.load();
  subject.remove();
  await subject.look();
  assert.deepEqual(await subject.store.load(), before);
  assert.ok(subject.store.isRefusing);
  assert.equal(subject.errors.length, 2, "told once, not at each look");
  await subject.change(ONE);
  assert.ok(!subject.store.isRefusing);
  assert.deepEqual(await subject.store.load(), before);
});

test("the first version is taken with what is broken in it, and does not hold up later ones", async (t) => {
  const subject = new Subject(t, "routes: [{ id: 1 }, { id: 2, bad: true }]");
  assert.deepEqual(await subject.keys(), ["/routes/1", "/routes/2"]);
  assert.match(subject.errors.join(), /a fault in the configuration file: .*\/routes\/2: it is bad/);
  await subject.change("routes: [{ id: 3 }, { id: 2, bad: true }]");
  assert.deepEqual(await subject.keys(), ["/routes/3", "/routes/2"]);
  await subject.change("routes: [{ id: 3, bad: true }, { id: 2, bad: true }]");
  assert.ok(subject.store.isRefusing);
});

test("loading waits for the first usable file", async (t) => {
  const subject = new Subject(t, null);
  const loaded = subject.store.load();
  await subject.look();
  assert.match(subject.errors.join(), /cannot be read: .*waiting for a usable one/);
  await subject.change("routes: [");
  await subject.change(ONE);
  assert.equal((await loaded).items.length, 1);
});

test("a long file is taken like a short one, and told with its lines when it is broken", async (t) => {
  const routes = Array.from({ length: 1000 }, (_, i) => `  - { id: ${i}, uri: /${i} }\n`).join("");
  const subject = new Subject(t, `routes:\n${routes}`);
  assert.equal((await subject.keys()).length, 1000);
  await subject.change(`routes:\n${routes}  - { id: last, bad: true }`);
  assert.match(subject.errors.join(), /apisix\.yaml:1002:22 \/routes\/last: it is bad/);
  assert.equal((await subject.keys()).length, 1000);
  await subject.change(`routes:\n${routes}  - { id: last }`);
  assert.equal((await subject.keys()).length, 1001);
});

test("a store that is closed while it reads a long file ends, and says nothing", async (t) => {
  const routes = Array.from({ length: 1000 }, (_, i) => `  - { id: ${i}, bad: true }\n`).join("");
  const { store, errors } = new Subject(t, `routes:\n${routes}`);
  await store.close();
  await store.look();
  assert.deepEqual(errors, []);
});

test("nothing can be written", async (t) => {
  const { store } = new Subject(t, ONE);
  await assert.rejects(store.write(), StoreUnavailableError);
});

test("a closed store gives nothing", async (t) => {
  const { store } = new Subject(t, ONE);
  await store.load();
  await store.close();
  await assert.rejects(store.load(), StoreUnavailableError);
  await assert.rejects(store.get("/routes/1"), StoreUnavailableError);
});
