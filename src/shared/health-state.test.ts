/** The state machine of health: limits, the four states, and what forgets what. */

import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import {
  afterResult,
  countOf,
  HTTP_FAILURE,
  isUp,
  movedTo,
  type Result,
  STATE_NAMES,
  stateOf,
  SUCCESS,
  TCP_FAILURE,
  TIMEOUT,
} from "./health-state.ts";

const RESULTS: readonly Result[] = [SUCCESS, HTTP_FAILURE, TCP_FAILURE, TIMEOUT];
const LIMITS = [2, 3, 2, 3] as const;
const LETTERS: Record<string, Result> = { s: SUCCESS, h: HTTP_FAILURE, t: TCP_FAILURE, o: TIMEOUT };

function run(results: string, limits: readonly number[] = LIMITS): number {
  let word = 0;
  for (const letter of results) word = afterResult(word, LETTERS[letter], limits[LETTERS[letter]]);
  return word;
}

function shown(word: number): string {
  const counts = [SUCCESS, HTTP_FAILURE, TCP_FAILURE, TIMEOUT].map((result) =>
    countOf(word, result as Result),
  );
  return `${STATE_NAMES[stateOf(word)]} ${counts.join()}`;
}

const CASES: readonly (readonly [string, string])[] = [
  ["", "healthy 0,0,0,0"],
  ["sss", "healthy 0,0,0,0"],
  ["t", "mostly_healthy 0,0,1,0"],
  ["hto", "mostly_healthy 0,1,1,1"],
  ["tt", "unhealthy 0,0,2,0"],
  ["tthhhoo", "unhealthy 0,0,2,0"],
  ["ts", "mostly_healthy 1,0,0,0"],
  ["tst", "mostly_healthy 0,0,1,0"],
  ["tss", "healthy 2,0,0,0"],
  ["tts", "mostly_unhealthy 1,0,0,0"],
  ["ttst", "mostly_unhealthy 0,0,1,0"],
  ["ttstt", "unhealthy 0,0,2,0"],
  ["ttss", "healthy 2,0,0,0"],
];

for (const [results, expected] of CASES) {
  test(`after "${results}" a node is ${expected}`, () => assert.equal(shown(run(results)), expected));
}

test("a limit of 0 turns a sort of result off", () => {
  assert.equal(shown(run("tttt", [2, 3, 0, 3])), "healthy 0,0,0,0");
});

test("failures of different sorts do not add up", () => {
  assert.equal(stateOf(run("hhtoo")), 1);
});

/** The same rules, written with objects. */
class Twin {
  state = 0;
  counts = [0, 0, 0, 0];

  take(result: Result, limit: number): void {
    const good = result === SUCCESS;
    if (limit === 0 || this.state === (good ? 0 : 3)) return;
    if (good) this.counts = [this.counts[0], 0, 0, 0];
    else this.counts[0] = 0;
    const count = ++this.counts[result];
    if (count >= limit) this.state = good ? 0 : 3;
    else if (this.state === 0) this.state = 1;
    else if (this.state === 3) this.state = 2;
  }
}

test("any sequence of results ends as with counters that are not packed, and keeps its generation", () => {
  const result = fc.constantFrom(...RESULTS);
  const limits = fc.tuple(fc.nat(254), fc.nat(254), fc.nat(254), fc.nat(254));
  fc.assert(
    fc.property(fc.array(result, { maxLength: 600 }), limits, fc.nat(31), (results, limit, generation) => {
      const twin = new Twin();
      let word = movedTo(0, generation);
      for (const each of results) {
        twin.take(each, limit[each]);
        word = afterResult(word, each, limit[each]);
      }
      assert.equal(stateOf(word), twin.state);
      assert.equal(isUp(word), twin.state < 2);
      assert.deepEqual(
        RESULTS.map((each) => countOf(word, each)),
        twin.counts,
      );
      assert.equal((word >>> 27) & 31, generation);
    }),
  );
});
