import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { PrefixTree, shorter, type PrefixNode } from "./prefix-tree.ts";

const text = fc.string({ unit: fc.constantFrom(..."abcdefghijkl/".split("")), maxLength: 6 });

function chain(first: PrefixNode<string> | null): string[] {
  const found: string[] = [];
  for (let node = first; node !== null; node = shorter(node)) found.push(node.value!);
  return found;
}

test("finds the stored prefixes of a text, longest first, forwards and from the end", () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(text, fc.boolean()), { maxLength: 60 }),
      fc.array(text),
      (changes, probes) => {
        const tree = new PrefixTree<string>();
        const twin = new Set<string>();
        for (const [prefix, isRemoval] of changes) {
          if (isRemoval) {
            const node = tree.find(prefix);
            assert.equal(node?.value ?? null, twin.has(prefix) ? prefix : null);
            if (!twin.delete(prefix)) continue;
            node!.value = null;
            tree.prune(node!);
          } else {
            tree.ensure(prefix).value = prefix;
            twin.add(prefix);
          }
          assert.equal(tree.isEmpty, twin.size === 0);
        }
        for (const probe of [...probes, ...twin]) {
          const expected = [...twin]
            .filter((prefix) => probe.startsWith(prefix))
            .sort((a, b) => b.length - a.length);
          assert.deepEqual(chain(tree.longest(probe)), expected);
          assert.deepEqual(chain(tree.longestFromEnd(probe.split("").reverse().join(""))), expected);
        }
      },
    ),
    { numRuns: 1000 },
  );
});
