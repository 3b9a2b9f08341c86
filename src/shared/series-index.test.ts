import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import type { MetricArena } from "./metric-arena.ts";
import { SeriesIndex } from "./series-index.ts";

/** Two texts with one hash, found by search. */
const TWINS = ['route="r22329"', 'route="r701022"'];

/** Texts by index, as the arena has them. */
function setUp() {
  const texts: string[] = [];
  const arena = {
    recordOf: (index: number) => index,
    text: (at: number) => texts[at],
  } as unknown as MetricArena;
  return { index: new SeriesIndex(arena), texts };
}

test("an index answers like a map by text, through additions and deletions", () => {
  const step = fc.record({ name: fc.integer({ min: 0, max: 30 }), isDelete: fc.boolean() });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      const { index, texts } = setUp();
      const twin = new Map<string, number>();
      for (const { name, isDelete } of steps) {
        const text = name < TWINS.length ? TWINS[name] : `route="${name}"`;
        const known = twin.get(text);
        if (isDelete && known !== undefined) {
          index.delete(text, known);
          twin.delete(text);
        } else if (known === undefined) {
          texts.push(text);
          index.add(text, texts.length - 1);
          twin.set(text, texts.length - 1);
        }
        for (const [key, value] of twin) assert.equal(index.find(key), value);
        assert.equal(index.find("none"), undefined);
      }
    }),
  );
});
