/**
 * Whatever we accept, Node's strict parser must accept with the same reading: same methods, targets, fields and
 * bodies, request by request. The other way round we may refuse more.
 */

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { REQUEST_SHAPES } from "../shapes/requests.ts";
import { RESPONSE_SHAPES } from "../shapes/responses.ts";
import { hostileStream } from "./hostile-requests.ts";
import { NODE_METHODS, readLikeNode } from "./node-reading.ts";
import { fuzzRuns, mutate, Random } from "./random.ts";
import { readRequests, type Reading } from "./reading.ts";
import { ResponseParser } from "../../src/data/http1/response-parser.ts";
import { BodyDecoder } from "../../src/data/http1/body-decoder.ts";

/** Node's reading with absolute targets taken apart as ours are; null when the rows cannot be compared. */
function compare(bytes: Buffer, ours: Reading, node: Reading): void {
  for (const [index, request] of ours.requests.entries()) {
    // Node knows a fixed list of methods; for others it has no opinion on the rest of the stream.
    if (!NODE_METHODS.includes(request.method)) return;
    const other = node.requests[index];
    assert.ok(
      other !== undefined,
      `we read ${JSON.stringify(request)}, Node says ${node.error}\n${show(bytes)}`,
    );
    const isAbsolute = /^https?:/i.test(other.target);
    const fields = isAbsolute ? withoutHost(request.headers) : request.headers;
    assert.deepEqual(fields, isAbsolute ? withoutHost(other.headers) : other.headers, show(bytes));
    if (!isAbsolute) assert.equal(request.target, other.target, show(bytes));
    assert.equal(request.method, other.method, show(bytes));
    assert.equal(request.body, other.body, show(bytes));
  }
}

function withoutHost(headers: string[]): string[] {
  return headers.filter((field) => !/^host:/i.test(field));
}

function show(bytes: Buffer): string {
  return JSON.stringify(bytes.toString("latin1"));
}

/** Cuts `bytes` into a few pieces. */
function split(random: Random, bytes: Buffer): Buffer[] {
  const pieces: Buffer[] = [];
  let at = 0;
  while (at < bytes.length) {
    const end = Math.min(bytes.length, at + 1 + random.below(random.chance(0.5) ? 5 : 200));
    pieces.push(bytes.subarray(at, end));
    at = end;
  }
  return pieces;
}

describe("P1: differential fuzzing", () => {
  test("hostile streams: what we accept, Node accepts with the same reading", (t) => {
    const random = Random.fromEnvironment();
    t.diagnostic(`FUZZ_SEED=${random.seed}`);
    let accepted = 0;
    const runs = fuzzRuns(30_000);
    for (let run = 0; run < runs; run++) {
      const bytes = hostileStream(random);
      const ours = readRequests([bytes]);
      accepted += ours.requests.length;
      compare(bytes, ours, readLikeNode(bytes));
      assert.deepEqual(
        readRequests(split(random, bytes)),
        ours,
        `split of ${show(bytes)}, FUZZ_SEED=${random.seed}`,
      );
    }
    assert.ok(
      accepted > runs / 4,
      `only ${accepted} requests accepted: the generator is too hostile to test much`,
    );
  });

  test("mutated shapes: what we accept, Node accepts with the same reading; nothing throws", (t) => {
    const random = Random.fromEnvironment();
    t.diagnostic(`FUZZ_SEED=${random.seed}`);
    const seeds = REQUEST_SHAPES.filter((shape) => shape.raw.length < 2000).map((shape) =>
      Buffer.from(shape.raw, "latin1"),
    );
    const runs = fuzzRuns(30_000);
    for (let run = 0; run < runs; run++) {
      const bytes = mutate(random, random.pick(seeds));
      const ours = readRequests([bytes]);
      compare(bytes, ours, readLikeNode(bytes));
      assert.deepEqual(
        readRequests(split(random, bytes)),
        ours,
        `split of ${show(bytes)}, FUZZ_SEED=${random.seed}`,
      );
    }
  });

  test("mutated answers: any split gives the same reading, nothing throws, progress never stops", (t) => {
    const random = Random.fromEnvironment();
    t.diagnostic(`FUZZ_SEED=${random.seed}`);
    const seeds = RESPONSE_SHAPES.filter((shape) => shape.raw.length < 2000).map((shape) =>
      Buffer.from(shape.raw, "latin1"),
    );
    const runs = fuzzRuns(20_000);
    for (let run = 0; run < runs; run++) {
      const bytes = mutate(random, random.pick(seeds));
      const whole = readAnswer([bytes]);
      assert.equal(
        readAnswer(split(random, bytes)),
        whole,
        `split of ${show(bytes)}, FUZZ_SEED=${random.seed}`,
      );
    }
  });
});

/** One line that says how a stream of answers was read. */
function readAnswer(pieces: readonly Buffer[]): string {
  const parser = new ResponseParser({ maxHeaderBytes: 32 * 1024, maxHeaders: 100 });
  const decoder = new BodyDecoder(false);
  let reading = "";
  let isInBody = false;
  let body = "";
  const consumer = {
    onBody: (chunk: Buffer) => (body += chunk.toString("latin1")) !== "",
    onEnd: () => {
      reading += `${body}|`;
    },
  };
  parser.begin("GET");
  for (const piece of pieces) {
    let at = 0;
    while (at < piece.length) {
      const before = at;
      if (isInBody) {
        at = decoder.feed(piece, at, piece.length);
        if (decoder.state === "complete") return reading;
        if (decoder.state === "failed") return `${reading}${body}!${decoder.error!.code}`;
      } else {
        at = parser.feed(piece, at, piece.length);
        if (at < 0) {
          if (parser.error !== null) return `${reading}!${parser.error.code}`;
          break;
        }
        const { head } = parser;
        reading += `${head.status} ${head.reason} ${JSON.stringify([...head.headers])} ${parser.framing}|`;
        if (head.status < 200 && head.status !== 101) continue;
        isInBody = true;
        decoder.begin(parser.framing, head.bodyLength, consumer);
        if (decoder.state !== "flowing") return reading;
      }
      assert.ok(at > before, "progress");
    }
  }
  return `${reading}${body}…`;
}
