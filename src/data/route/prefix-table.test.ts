import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { PrefixCursor, PrefixTable, type Prefixed } from "./prefix-table.ts";

const text = fc.string({ unit: fc.constantFrom(..."abcdefghijkl/".split("")), maxLength: 6 });

class Start implements Prefixed {
  readonly prefix: string;

  constructor(prefix: string) {
    this.prefix = prefix;
  }

  get prefixLength(): number {
    return this.prefix.length;
  }

  begins(whole: string): boolean {
    return whole.startsWith(this.prefix);
  }
}

class End extends Start {
  override begins(whole: string): boolean {
    return whole.endsWith(this.prefix);
  }
}

function found(table: PrefixTable<Start>, whole: string, cursor: PrefixCursor): string[] {
  const prefixes: string[] = [];
  for (let value = table.first(whole, cursor); value !== null; value = table.next(whole, cursor))
    prefixes.push(value.prefix);
  return prefixes;
}

for (const [direction, create, fits] of [
  [
    "forwards",
    (prefix: string) => new Start(prefix),
    (whole: string, part: string) => whole.startsWith(part),
  ],
  [
    "from the end",
    (prefix: string) => new End(prefix),
    (whole: string, part: string) => whole.endsWith(part),
  ],
] as const) {
  test(`finds the stored prefixes of a text, longest first, ${direction}`, () => {
    const cursor = new PrefixCursor();
    fc.assert(
      fc.property(
        fc.array(fc.tuple(text, fc.boolean()), { maxLength: 80 }),
        fc.array(text),
        (changes, probes) => {
          const table = new PrefixTable<Start>(direction === "from the end");
          const twin = new Set<string>();
          for (const [prefix, isRemoval] of changes) {
            assert.equal(table.get(prefix)?.prefix ?? null, twin.has(prefix) ? prefix : null);
            if (isRemoval) {
              table.delete(prefix);
              twin.delete(prefix);
            } else {
              table.set(prefix, create(prefix));
              twin.add(prefix);
            }
            assert.equal(table.size, twin.size);
          }
          for (const probe of [...probes, ...twin]) {
            const expected = [...twin]
              .filter((part) => fits(probe, part))
              .sort((a, b) => b.length - a.length);
            assert.deepEqual(found(table, probe, cursor), expected);
          }
        },
      ),
      { numRuns: 1000 },
    );
  });
}

test("a value that is set again takes the place of the one before", () => {
  const table = new PrefixTable<Start>();
  for (let i = 0; i < 100; i++) table.set(`/${i}/`, new Start(`/${i}/`));
  const newer = new Start("/42/");
  table.set("/42/", newer);
  assert.equal(table.get("/42/"), newer);
  assert.equal(table.size, 100);
});
