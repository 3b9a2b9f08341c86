import assert from "node:assert/strict";
import { test } from "node:test";
import { borrow, giveBack, LARGEST_LENT_BYTES } from "./lent-buffers.ts";

test("a buffer is large enough, less than twice as large above 4 KiB, and lent again once it is back", () => {
  for (const bytes of [1, 4096, 4097, 8192, 8193, 50_000, LARGEST_LENT_BYTES]) {
    const buffer = borrow(bytes);
    assert.ok(
      buffer.length >= bytes && buffer.length < Math.max(4097, 2 * bytes),
      `${bytes}: ${buffer.length}`,
    );
    assert.notEqual(borrow(bytes), buffer);
    giveBack(buffer);
    assert.equal(borrow(bytes), buffer);
  }
});

test("what is kept for the next one is bounded", () => {
  const lent = Array.from({ length: 100 }, () => borrow(LARGEST_LENT_BYTES));
  for (const buffer of lent) giveBack(buffer);
  const again = new Set(Array.from({ length: 100 }, () => borrow(LARGEST_LENT_BYTES)));
  assert.equal(lent.filter((buffer) => again.has(buffer)).length, 16);
});
