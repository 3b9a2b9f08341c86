import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { Base64Stream } from "./base64-stream.ts";

function decode(chunks: readonly string[]): Buffer | null {
  const stream = new Base64Stream();
  const parts: Buffer[] = [];
  for (const chunk of chunks) {
    const part = stream.decode(Buffer.from(chunk, "latin1"));
    if (part === null) return null;
    parts.push(part);
  }
  const rest = stream.end();
  return rest === null ? null : Buffer.concat([...parts, rest]);
}

/** In pieces of the given lengths, again and again. */
function cut(text: string, lengths: readonly number[]): string[] {
  const pieces: string[] = [];
  for (let at = 0, i = 0; at < text.length; i++) {
    const length = lengths[i % lengths.length];
    pieces.push(text.slice(at, at + length));
    at += length;
  }
  return pieces;
}

test("parts with padding of their own come out as they went in, however they are cut", () => {
  fc.assert(
    fc.property(
      fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 6 }),
      fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 4 }),
      (parts, lengths) => {
        const text = parts.map((part) => Buffer.from(part).toString("base64")).join("");
        assert.deepEqual(decode(cut(text, lengths)), Buffer.concat(parts));
      },
    ),
  );
});

for (const { text, bytes } of [
  { text: "aGVsbG8", bytes: "hello" },
  { text: "aGVsbG8=\r\n", bytes: "hello" },
  { text: "aGVs\nbG8=", bytes: "hello" },
  { text: "", bytes: "" },
])
  test(`${JSON.stringify(text)} is taken`, () => assert.equal(decode([text])?.toString(), bytes));

for (const text of ["hello", "a-b_", "a=bc", "aGVs=", "====", "aGVsbG8=*", "=", "aGVsbG8=a="])
  test(`${JSON.stringify(text)} is refused`, () => assert.equal(decode([text]), null));
