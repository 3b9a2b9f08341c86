/** Values leave the texts that refuse them, whatever stands around them. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { redacted } from "./redact.ts";

const resource = { plugins: { "a/b": { key: 'se"cret', list: ["x1", { y: "x12" }] } } };
const cases: [reason: string, pointer: string, expected: string][] = [
  ['failed to match "^a" with "se\\"cret"', "/plugins/a~1b/key", 'failed to match "^a" with "..."'],
  ['got: se"cret', "/plugins/a~1b/key", "got: ..."],
  ["x12 and x1 are wrong", "/plugins/a~1b/list", "... and ... are wrong"],
  ["x12 is wrong", "/plugins/a~1b/list/1/y", "... is wrong"],
  ["nothing to hide", "/plugins/none/0", "nothing to hide"],
];
for (const [reason, pointer, expected] of cases) {
  test(`${reason} becomes ${expected}`, () => {
    assert.equal(redacted(reason, resource, pointer), expected);
  });
}
