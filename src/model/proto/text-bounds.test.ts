import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { ProtoError } from "./proto-error.ts";
import { loadLibraries } from "./libraries.ts";
import { checkTextBounds } from "./text-bounds.ts";

const TAIL = ";".repeat(1001);

/** Statements as the parser counts them; 0: it reads none of the text. */
function statementsOf(text: string): number {
  const { tokenize } = loadLibraries().protobufjs;
  try {
    const tokens = tokenize(text, false);
    let count = 0;
    for (let token = tokens.next(); token !== null; token = tokens.next()) if (token === ";") count++;
    return count;
  } catch {
    return 0;
  }
}

test("no text hides from its bounds what the parser reads", () => {
  const parts = fc.constantFrom(
    ...'/ * // /* */ " \' \\ \\" a { } ( ) = ; .'.split(" "),
    " ",
    "\n",
    "\r",
    "\u2028",
    "\u00a0",
  );
  fc.assert(
    fc.property(fc.array(parts, { maxLength: 12 }), fc.array(parts, { maxLength: 4 }), (before, after) => {
      const text = before.join("") + TAIL + after.join("");
      if (statementsOf(text) > 1000) assert.throws(() => checkTextBounds(text), ProtoError);
    }),
    { numRuns: 5000 },
  );
});
