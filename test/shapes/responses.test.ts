/** Every row of `responses.ts`, in one piece, byte by byte, and cut in two at every position. */

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { BodyDecoder } from "../../src/data/http1/body-decoder.ts";
import { FAILED, NEED_MORE } from "../../src/data/http1/head-parser.ts";
import { ResponseParser } from "../../src/data/http1/response-parser.ts";
import type { Read, ResponseShape } from "./responses.ts";
import { RESPONSE_SHAPES } from "./responses.ts";

type Outcome = { error: string } | Required<Read>;

/** Reads pieces as an upstream connection does; the peer closes behind the last one. */
function read(pieces: Buffer[], method: string): Outcome {
  const parser = new ResponseParser({ maxHeaderBytes: 32 * 1024, maxHeaders: 100 });
  const decoder = new BodyDecoder(false);
  const informational: number[] = [];
  const body: Buffer[] = [];
  let trailers: string[] = [];
  let isComplete = false;
  let isFinal = false;
  let rest = "";
  const consumer = {
    onBody: (chunk: Buffer) => body.push(chunk) > 0,
    onEnd: (fields: Iterable<[string, string]> | null) => {
      isComplete = true;
      trailers = fields === null ? [] : [...fields].map(([name, value]) => `${name}: ${value}`);
    },
  };
  parser.begin(method);
  for (const piece of pieces) {
    let at = 0;
    while (at < piece.length && !isFinal) {
      const end = parser.feed(piece, at, piece.length);
      if (end === FAILED) return { error: parser.error!.code };
      if (end === NEED_MORE) break;
      at = end;
      const { status, bodyLength } = parser.head;
      if (status < 200 && status !== 101) informational.push(status);
      else {
        isFinal = true;
        decoder.begin(parser.framing, bodyLength, consumer);
      }
    }
    if (!isFinal) continue;
    at = decoder.feed(piece, at, piece.length);
    if (decoder.state === "failed") return { error: decoder.error!.code };
    if (isComplete) rest += piece.toString("latin1", at);
  }
  if (!isFinal) return { error: "no-head" };
  decoder.end();
  if (decoder.state !== "complete") return { error: decoder.error!.code };
  const { status, reason } = parser.head;
  return {
    status,
    reason,
    body: Buffer.concat(body).toString("latin1"),
    rest,
    reusable: parser.keepAlive,
    informational,
    trailers,
  };
}

function check({ verdict }: ResponseShape, outcome: Outcome): void {
  for (const [key, value] of Object.entries(verdict)) {
    assert.deepEqual(
      (outcome as unknown as Record<string, unknown>)[key],
      value,
      `${key} of ${JSON.stringify(outcome)}`,
    );
  }
}

describe("P1: shapes of upstream answers", () => {
  for (const shape of RESPONSE_SHAPES) {
    test(shape.name, () => {
      const bytes = Buffer.from(shape.raw, "latin1");
      const method = shape.method ?? "GET";
      const whole = read([bytes], method);
      check(shape, whole);
      const single = Array.from(bytes, (_, i) => bytes.subarray(i, i + 1));
      assert.deepEqual(read(single, method), whole, "byte by byte");
      if (bytes.length > 4000) return;
      for (let cut = 1; cut < bytes.length; cut++) {
        assert.deepEqual(read([bytes.subarray(0, cut), bytes.subarray(cut)], method), whole, `cut at ${cut}`);
      }
    });
  }
});
