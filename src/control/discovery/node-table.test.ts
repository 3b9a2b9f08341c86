/** What becomes of the nodes of a service when its source answers, fails, or says something strange. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { need } from "./findings-kit.ts";
import { NodeTable, placeOf } from "./node-table.ts";
import type { DiscoveredNode } from "./node-source.ts";

const WEB = need("consul", "web");

interface Bench {
  table: NodeTable;
  told: string[];
  at: { now: number };
  places(): string | undefined;
}

function bench(trustsEmpty = false, saved: DiscoveredNode[] | null = null): Bench {
  const told: string[] = [];
  const at = { now: 1_000_000 };
  const table = new NodeTable({
    trustsEmpty,
    onChange: (key) => told.push(`change ${key}`),
    onFailure: (_type, reason) => told.push(`failure ${reason}`),
    onEmpty: (key) => told.push(`empty ${key}`),
    now: () => at.now,
    elapsed: () => at.now,
  });
  table.add(WEB, saved);
  const places = () => table.get(WEB.key)!.nodes?.map(placeOf).join(", ");
  return { table, told, at, places };
}

function nodes(...hosts: string[]): DiscoveredNode[] {
  return hosts.map((host) => ({ host, port: 80, weight: 1 }));
}

test("an answer that says the same, in any order, is no change", () => {
  const { table, told, places } = bench();
  table.answer(WEB.key, nodes("10.0.0.1", "10.0.0.2"));
  table.answer(WEB.key, nodes("10.0.0.2", "10.0.0.1"));
  assert.deepEqual(told, ["change consul:web"]);
  assert.equal(places(), "10.0.0.1:80, 10.0.0.2:80");
  table.answer(WEB.key, [{ host: "10.0.0.2", port: 80, weight: 2 }, ...nodes("10.0.0.1")]);
  assert.equal(told.length, 2);
});

test("failures change nothing and are told once until something answers", () => {
  const { table, told, places } = bench();
  table.answer(WEB.key, nodes("10.0.0.1"));
  told.length = 0;
  table.fail("consul", "a");
  table.fail("consul", "b");
  assert.deepEqual([places(), table.get(WEB.key)!.failures, told], ["10.0.0.1:80", 2, ["failure a"]]);
  table.answer(WEB.key, nodes("10.0.0.1"));
  table.fail("consul", "c");
  assert.deepEqual([told, table.counts("consul").failures], [["failure a", "failure c"], 3]);
});

test("an answer without nodes leaves those that were, and empties them where the setting says so", () => {
  for (const trustsEmpty of [false, true]) {
    const { table, told, places } = bench(trustsEmpty);
    table.answer(WEB.key, nodes("10.0.0.1"));
    told.length = 0;
    table.answer(WEB.key, []);
    table.answer(WEB.key, []);
    assert.equal(places(), trustsEmpty ? "" : "10.0.0.1:80");
    assert.equal(table.get(WEB.key)!.isHeld, !trustsEmpty);
    assert.deepEqual(told, [trustsEmpty ? "change consul:web" : "empty consul:web"]);
    assert.equal(table.counts("consul").emptyAnswers, 2);
    table.answer(WEB.key, nodes("10.0.0.2"));
    assert.deepEqual([places(), table.get(WEB.key)!.isHeld], ["10.0.0.2:80", false]);
  }
});

test("what an earlier run knew serves until there is an answer, and an empty one does not take it away", () => {
  const { table, places } = bench(false, nodes("10.0.0.1"));
  assert.equal(places(), "10.0.0.1:80");
  table.answer(WEB.key, []);
  assert.equal(places(), "10.0.0.1:80");
  table.answer(WEB.key, nodes("10.0.0.2"));
  assert.equal(places(), "10.0.0.2:80");
});

test("nodes that cannot be are left out; an answer with nothing else is a failure", () => {
  const { table, places } = bench();
  const strange: unknown[] = [
    { host: "", port: 80, weight: 1 },
    { host: "a b", port: 80, weight: 1 },
    { host: 7, port: 80, weight: 1 },
    { host: "10.0.0.1", port: 70_000, weight: 1 },
    { host: "10.0.0.1", port: 80.5, weight: 1 },
    { host: "10.0.0.1", port: 80, weight: -1 },
    { host: "10.0.0.1", port: 80, weight: Number.NaN },
    { host: "x".repeat(254), port: 80, weight: 1 },
  ];
  table.answer(WEB.key, strange as DiscoveredNode[]);
  assert.deepEqual([places(), table.get(WEB.key)!.failures], [undefined, 1]);
  table.answer(WEB.key, [...(strange as DiscoveredNode[]), ...nodes("[FD00::1]", "Web.Test", "web.test")]);
  assert.equal(places(), "[fd00::1]:80, web.test:80");
});

test("weights that are no whole numbers keep their shares", () => {
  const { table } = bench();
  const [a, b] = nodes("10.0.0.1", "10.0.0.2");
  table.answer(WEB.key, [
    { ...a, weight: 0.5 },
    { ...b, weight: 2 },
  ]);
  assert.deepEqual(
    table.get(WEB.key)!.nodes!.map(({ weight }) => weight),
    [50, 200],
  );
});

test("a node that was taken out stays out until it was not listed once", () => {
  const { table, places } = bench();
  table.answer(WEB.key, nodes("10.0.0.1", "10.0.0.2"));
  assert.equal(table.exclude(WEB.key, "10.0.0.9:80"), false);
  assert.equal(table.exclude(WEB.key, "10.0.0.2:80"), true);
  assert.equal(places(), "10.0.0.1:80");
  table.answer(WEB.key, nodes("10.0.0.1", "10.0.0.2"));
  assert.equal(places(), "10.0.0.1:80");
  table.answer(WEB.key, nodes("10.0.0.1"));
  table.answer(WEB.key, nodes("10.0.0.1", "10.0.0.2"));
  assert.equal(places(), "10.0.0.1:80, 10.0.0.2:80");
});

test("a node that was taken out and is listed all the time comes back after ten minutes", () => {
  const { table, places, at } = bench();
  table.answer(WEB.key, nodes("10.0.0.1", "10.0.0.2"));
  table.exclude(WEB.key, "10.0.0.2:80");
  at.now += 599_999;
  table.answer(WEB.key, nodes("10.0.0.1", "10.0.0.2"));
  assert.equal(places(), "10.0.0.1:80");
  at.now += 1;
  table.answer(WEB.key, nodes("10.0.0.1", "10.0.0.2"));
  assert.equal(places(), "10.0.0.1:80, 10.0.0.2:80");
});

test("a word that nothing changed makes answers young, but not those of a service that fails", () => {
  const { table, at } = bench();
  table.confirm("consul");
  assert.equal(table.get(WEB.key)!.answeredAt, null);
  table.answer(WEB.key, nodes("10.0.0.1"));
  at.now += 5000;
  table.confirm("dns");
  assert.equal(table.get(WEB.key)!.answeredAt, 1_000_000);
  table.confirm("consul");
  assert.equal(table.get(WEB.key)!.answeredAt, 1_005_000);
  table.fail("consul", "away");
  at.now += 5000;
  table.confirm("consul");
  assert.equal(table.get(WEB.key)!.answeredAt, 1_005_000);
});

test("a host that is neither an address nor a name is none, since hosts get into header fields", () => {
  const { table, places } = bench();
  // The low bytes of U+010D and U+010A are CR and LF.
  const hostile = [
    "web\u010d\u010aX-Admin: 1",
    "web\r\n",
    "web\u0000",
    "a@b",
    "a#b",
    "a?b",
    "a\\b",
    "[::1",
    "::1]",
    "é",
    "",
  ];
  table.answer(WEB.key, nodes(...hostile, "10.0.0.1", "[FD00::1]", "web_1.test.", "A.Test"));
  assert.equal(places(), "10.0.0.1:80, [fd00::1]:80, web_1.test.:80, a.test:80");
});

test("what a file says of an earlier run is not believed any more than a registry", () => {
  const saved = [
    { host: "web\u010d\u010a", port: 80, weight: 1 },
    { host: "10.0.0.1", port: 99_999, weight: 1 },
    { host: "10.0.0.2", port: 80, weight: -1 },
  ];
  const { table, places } = bench(false, [...saved, ...nodes("10.0.0.3")]);
  assert.equal(places(), "10.0.0.3:80");
  table.add(need("consul", "shop"), saved);
  assert.equal(table.get("consul:shop")!.nodes, null);
});

test("metadata is kept as far as it is flat and short", () => {
  const { table } = bench();
  let deep: unknown = "x";
  for (let i = 0; i < 20_000; i++) deep = [deep];
  const metadata = { zone: "a", weight: 2, spot: true, deep, long: "x".repeat(10_000), none: null };
  const many = Object.fromEntries(Array.from({ length: 1000 }, (_, i) => [`k${i}`, "v"]));
  table.answer(WEB.key, [
    { host: "10.0.0.1", port: 80, weight: 1, metadata },
    { host: "10.0.0.2", port: 80, weight: 1, metadata: many },
  ]);
  const [first, second] = table.get(WEB.key)!.nodes!;
  assert.deepEqual(first.metadata, { zone: "a", weight: 2, spot: true });
  assert.equal(Object.keys(second.metadata!).length, 100);
});

test("a clock that is set forward does not bring back what was taken out", () => {
  let wall = 1_000_000;
  const table = new NodeTable({
    trustsEmpty: false,
    onChange: () => {},
    onFailure: () => {},
    onEmpty: () => {},
    now: () => wall,
    elapsed: () => 0,
  });
  table.add(WEB, null);
  table.answer(WEB.key, nodes("10.0.0.1", "10.0.0.2"));
  table.exclude(WEB.key, "10.0.0.1:80");
  wall += 86_400_000;
  table.answer(WEB.key, nodes("10.0.0.1", "10.0.0.2"));
  assert.deepEqual(table.get(WEB.key)!.nodes!.map(placeOf), ["10.0.0.2:80"]);
});
