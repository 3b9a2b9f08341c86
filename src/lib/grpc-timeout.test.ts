import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { readGrpcTimeout, writeGrpcTimeout } from "./grpc-timeout.ts";

for (const [value, ms] of [
  ["1H", 3_600_000],
  ["2M", 120_000],
  ["30S", 30_000],
  ["99999999m", 99_999_999],
  ["500u", 0.5],
  ["0m", 0],
  ["100000000m", null],
  ["-1m", null],
  ["1.5S", null],
  ["1", null],
  ["m", null],
  ["1s", null],
  ["1 m", null],
  ["", null],
] as const)
  test(`${JSON.stringify(value)} is ${ms ?? "no timeout"}`, () => assert.equal(readGrpcTimeout(value), ms));

test("what is written is read as no more than what was left, and hardly less", () => {
  fc.assert(
    fc.property(fc.double({ min: 0.001, max: 9e10, noNaN: true }), (leftMs) => {
      const read = readGrpcTimeout(writeGrpcTimeout(leftMs))!;
      assert.ok(read <= leftMs + 1e-9 && read > leftMs * 0.999 - 0.001, `${leftMs} became ${read}`);
    }),
  );
});

test("nothing left is not written as for ever", () => assert.equal(writeGrpcTimeout(-5), "1u"));
