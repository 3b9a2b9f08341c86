import assert from "node:assert/strict";
import { test } from "node:test";
import { createSharedMemory, openSharedMemory } from "../../shared/shared-memory.ts";
import { parseStaticConfig } from "../../config/load.ts";
import type { PluginHost } from "../../plugin/index.ts";
import { NO_CHOICE, positionOf, WeightedChoice } from "./weighted-choice.ts";

type Dictionary = PluginHost["dictionary"];

const buffers = createSharedMemory(parseStaticConfig("test", "", {}).config.memory, 4);

function dictionaryOf(worker: number): Dictionary {
  return openSharedMemory(buffers, worker, 1).dictionary;
}

const WITHOUT_MEMORY = { increment: () => undefined } as unknown as Dictionary;

function countsOf(choices: readonly WeightedChoice[], entries: number, requests: number): number[] {
  const counts = Array.from({ length: entries }, () => 0);
  for (let i = 0; i < requests; i++) counts[choices[i % choices.length].next("route#1")]++;
  return counts;
}

for (const weights of [
  [1, 1],
  [3, 2],
  [95, 5],
  [1, 0, 2],
  [10, 20, 30, 40],
  [999, 1],
]) {
  test(`weights ${weights.join(":")} are exact over a whole cycle, drawn by four workers`, () => {
    const name = `:cycle:${weights.join(":")}`;
    const choices = [0, 1, 2, 3].map((worker) => new WeightedChoice(weights, name, dictionaryOf(worker)));
    const total = weights.reduce((a, b) => a + b);
    assert.deepEqual(
      countsOf(choices, weights.length, total * 4),
      weights.map((weight) => weight * 4),
    );
  });
}

test("shares of weights with a long cycle are within a few requests of 100,000", () => {
  const weights = [900_001, 70_003, 30_011];
  const choices = [0, 1].map((worker) => new WeightedChoice(weights, ":long:", dictionaryOf(worker)));
  const counts = countsOf(choices, 3, 100_000);
  const total = weights.reduce((a, b) => a + b);
  for (const [i, count] of counts.entries())
    assert.ok(Math.abs(count - (weights[i] / total) * 100_000) < 20, `${i}: ${count}`);
});

test("entries are mixed, not in blocks", () => {
  const choice = new WeightedChoice([2, 2], ":mixed:", dictionaryOf(0));
  assert.deepEqual(
    [0, 1, 2, 3].map(() => choice.next("")),
    [0, 1, 0, 1],
  );
});

test("owners are shared out apart", () => {
  const choice = new WeightedChoice([1, 1], ":apart:", dictionaryOf(0));
  assert.deepEqual([choice.next("a"), choice.next("b"), choice.next("a"), choice.next("b")], [0, 0, 1, 1]);
});

test("without shared memory, the worker counts by itself", () => {
  const choice = new WeightedChoice([3, 1], "", WITHOUT_MEMORY);
  assert.deepEqual(countsOf([choice], 2, 400), [300, 100]);
});

test("an only entry with a weight is always chosen, without any there is no choice", () => {
  assert.equal(new WeightedChoice([0, 7], "", WITHOUT_MEMORY).next(""), 1);
  assert.equal(new WeightedChoice([0, 0], "", WITHOUT_MEMORY).next(""), NO_CHOICE);
  assert.equal(new WeightedChoice([0, 0], "", WITHOUT_MEMORY).at(5), NO_CHOICE);
});

test("more weight for an entry takes positions from others and gives none away", () => {
  const before = new WeightedChoice([95, 5], "", WITHOUT_MEMORY);
  const after = new WeightedChoice([80, 20], "", WITHOUT_MEMORY);
  let moved = 0;
  for (let ticket = 0; ticket < 1000; ticket++) {
    const position = positionOf(ticket);
    if (before.at(position) === 1) assert.equal(after.at(position), 1);
    if (before.at(position) !== after.at(position)) moved++;
  }
  assert.ok(Math.abs(moved - 150) <= 3, String(moved));
});
