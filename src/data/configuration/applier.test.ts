import assert from "node:assert/strict";
import { test } from "node:test";
import type { ConfigurationItem, ItemBytes, Kind } from "../../shared/configuration-bytes.ts";
import type { Configuration } from "./configuration.ts";
import { encodeConfiguration } from "../../shared/configuration-bytes.ts";
import { Applier, ATOMIC_ITEMS } from "./applier.ts";

/** Stands in for the configuration and writes down what is asked of it. */
class Recorded {
  readonly items = new Map<string, ItemBytes>();
  readonly calls: string[] = [];

  ids(kind: Kind): string[] {
    return [...this.items.keys()]
      .filter((key) => key.startsWith(`${kind}/`))
      .map((key) => key.slice(kind.length + 1));
  }

  holds(kind: Kind, id: string, bytes: ItemBytes): boolean {
    return this.items.get(`${kind}/${id}`)?.equals(bytes) === true;
  }

  put(kind: Kind, id: string, bytes: ItemBytes): void {
    if (bytes.text().includes("bad")) throw new Error("cannot be used");
    this.calls.push(`put ${kind}/${id}`);
    this.items.set(`${kind}/${id}`, bytes);
  }

  remove(kind: Kind, id: string): void {
    this.calls.push(`remove ${kind}/${id}`);
    this.items.delete(`${kind}/${id}`);
  }
}

function setUp() {
  const recorded = new Recorded();
  const applier = new Applier(recorded as unknown as Configuration);
  const applied: number[] = [];
  applier.onApplied = (revision) => applied.push(revision);
  return { recorded, applier, applied };
}

function route(id: string, text = "{}"): ConfigurationItem {
  return { kind: "route", id, value: text };
}

test("a snapshot is applied as a difference: same items stay untouched, missing ones go", () => {
  const { recorded, applier, applied } = setUp();
  applier.take({
    type: "snapshot",
    revision: 1,
    bytes: encodeConfiguration([route("1"), route("2"), { kind: "upstream", id: "u", value: "{}" }]),
  });
  assert.deepEqual(recorded.calls, ["put upstream/u", "put route/1", "put route/2"]);
  recorded.calls.length = 0;
  applier.take({
    type: "snapshot",
    revision: 2,
    bytes: encodeConfiguration([route("1"), route("2", '{"a":1}')]),
  });
  assert.deepEqual(recorded.calls, ["remove upstream/u", "put route/2"]);
  assert.deepEqual(applied, [1, 2]);
});

test("a small batch is applied at once, before anything else can run", () => {
  const { recorded, applier, applied } = setUp();
  const items = Array.from({ length: ATOMIC_ITEMS }, (_, i) => route(String(i)));
  applier.take({ type: "delta", revision: 5, bytes: encodeConfiguration(items) });
  assert.equal(recorded.items.size, ATOMIC_ITEMS);
  assert.deepEqual(applied, [5]);
});

test("a large batch yields between slices, and what follows waits for it", async () => {
  const { recorded, applier, applied } = setUp();
  const items = Array.from({ length: 50_000 }, (_, i) => route(String(i)));
  applier.take({ type: "snapshot", revision: 1, bytes: encodeConfiguration(items) });
  applier.take({
    type: "delta",
    revision: 2,
    bytes: encodeConfiguration([{ kind: "route", id: "7", value: null }]),
  });
  assert.deepEqual(applied, []);
  let turns = 0;
  while (applied.length < 2) {
    turns++;
    await new Promise((resolve) => setImmediate(resolve));
  }
  assert.ok(turns > 1);
  assert.deepEqual(applied, [1, 2]);
  assert.equal(recorded.items.size, 49_999);
  assert.equal(recorded.calls.at(-1), "remove route/7");
});

test("an item that cannot be used is left out and named, the rest of its batch counts", () => {
  const { recorded, applier, applied } = setUp();
  const refused: string[] = [];
  applier.onRefused = (kind, id, reason) => refused.push(`${kind}/${id}: ${reason}`);
  applier.take({
    type: "delta",
    revision: 3,
    bytes: encodeConfiguration([route("1"), route("2", '"bad"'), route("3")]),
  });
  assert.deepEqual(recorded.calls, ["put route/1", "put route/3"]);
  assert.deepEqual(refused, ["route/2: cannot be used"]);
  assert.deepEqual(applied, [3]);
});
