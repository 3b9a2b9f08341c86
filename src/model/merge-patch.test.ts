/** What PATCH makes of a stored value. */

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import * as fc from "fast-check";
import { InvalidSubPathError, mergePatch, patchAt } from "./merge-patch.ts";

describe("a merge", () => {
  const cases: [what: string, target: unknown, patch: unknown, expected: unknown][] = [
    ["adds and replaces", { a: 1, b: 2 }, { b: 3, c: 4 }, { a: 1, b: 3, c: 4 }],
    ["goes into objects", { a: { b: 1, c: 2 } }, { a: { c: 3 } }, { a: { b: 1, c: 3 } }],
    ["deletes by null", { a: 1, b: { c: 1, d: 2 } }, { a: null, b: { c: null } }, { b: { d: 2 } }],
    ["replaces arrays", { a: [1, 2] }, { a: [3] }, { a: [3] }],
    ["replaces an array by an object", { a: [1] }, { a: { b: 1 } }, { a: { b: 1 } }],
    ["replaces an object by an array", { a: { b: 1 } }, { a: [1] }, { a: [1] }],
    [
      "keeps nodes that have dots and colons",
      { n: { "1.1.1.1:80": 1 } },
      { n: { "1.1.1.1:80": null, "1.1.1.2:80": 1 } },
      { n: { "1.1.1.2:80": 1 } },
    ],
  ];
  for (const [what, target, patch, expected] of cases) {
    test(what, () => assert.deepEqual(mergePatch(target, patch), expected));
  }

  test("never changes its arguments and shares nothing with the patch", () => {
    const target = { a: { b: [1] } };
    const patch = { a: { c: { d: 1 } } };
    const merged = mergePatch(target, patch) as { a: { c: { d: number } } };
    merged.a.c.d = 2;
    assert.deepEqual(target, { a: { b: [1] } });
    assert.deepEqual(patch, { a: { c: { d: 1 } } });
  });

  test("of __proto__ and constructor leaves every prototype alone", () => {
    const patch: unknown = JSON.parse(
      '{"__proto__":{"x":1},"constructor":{"prototype":{"x":1}},"a":{"__proto__":{"x":1}}}',
    );
    const merged = mergePatch({ a: {} }, patch) as Record<string, unknown>;
    assert.equal(Object.getPrototypeOf(merged), Object.prototype);
    assert.equal(({} as Record<string, unknown>)["x"], undefined);
    assert.equal((merged["a"] as Record<string, unknown>)["x"], undefined);
  });

  test("with itself changes nothing that has no null", () => {
    const json = fc.jsonValue().filter((value) => !JSON.stringify(value).includes("null"));
    fc.assert(
      fc.property(fc.dictionary(fc.string(), json), (value) =>
        assert.deepEqual(mergePatch(value, value), { ...value }),
      ),
    );
  });
});

describe("a patch below a path", () => {
  const cases: [what: string, target: unknown, path: string, value: unknown, expected: unknown][] = [
    ["replaces a scalar", { a: { b: 1 } }, "a/b", 2, { a: { b: 2 } }],
    ["replaces a whole object", { a: { b: 1, c: 2 } }, "a", { d: 1 }, { a: { d: 1 } }],
    ["makes objects on the way", {}, "a/b/c", 1, { a: { b: { c: 1 } } }],
    ["sets null as it is", { a: 1 }, "a", null, { a: null }],
    ["replaces all without a path", { a: 1 }, "", { b: 1 }, { b: 1 }],
  ];
  for (const [what, target, path, value, expected] of cases) {
    test(what, () => {
      const before = structuredClone(target);
      assert.deepEqual(patchAt(target, path, value), expected);
      assert.deepEqual(target, before);
    });
  }

  for (const [target, path, told] of [
    [{ a: 1 }, "a/b", "invalid sub-path: /a"],
    [{ a: { b: "x" } }, "a/b/c/d", "invalid sub-path: /a/b"],
    [{ a: [1] }, "a/1", "invalid sub-path: /a"],
    [{}, "a//b", "invalid sub-path: /a/"],
    [{}, "__proto__/x", "invalid sub-path: /__proto__"],
    [{}, "a/__proto__", "invalid sub-path: /a/__proto__"],
  ] as const) {
    test(`${path} of ${JSON.stringify(target)} is refused`, () => {
      assert.throws(() => patchAt(target, path, 1), { name: InvalidSubPathError.name, message: told });
    });
  }

  test("constructor/prototype is an ordinary path", () => {
    assert.deepEqual(patchAt({}, "constructor/prototype/x", 1), { constructor: { prototype: { x: 1 } } });
    assert.equal(({} as Record<string, unknown>)["x"], undefined);
  });
});
