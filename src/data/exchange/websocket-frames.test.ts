import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { closeFrame, FrameWalker } from "./websocket-frames.ts";

/** A frame as RFC 6455 5.2 writes it, with a payload of zeros. */
function frame(length: number, isMasked: boolean): Buffer {
  const mark = isMasked ? 0x80 : 0;
  const head =
    length < 126
      ? Buffer.from([0x82, mark | length])
      : length < 65_536
        ? Buffer.from([0x82, mark | 126, length >> 8, length & 0xff])
        : Buffer.from([
            0x82,
            mark | 127,
            0,
            0,
            0,
            0,
            length >>> 24,
            (length >> 16) & 0xff,
            (length >> 8) & 0xff,
            length & 0xff,
          ]);
  return Buffer.concat([head, Buffer.alloc(isMasked ? 4 : 0, 7), Buffer.alloc(length)]);
}

const frames = fc.array(
  fc.tuple(
    fc.oneof(fc.integer({ min: 0, max: 130 }), fc.constantFrom(125, 126, 65_535, 65_536, 70_000)),
    fc.boolean(),
  ),
  { minLength: 1, maxLength: 6 },
);

test("the ends of frames are found, in whatever pieces they come, and nowhere else", () => {
  fc.assert(
    fc.property(frames, fc.array(fc.integer({ min: 1, max: 5000 }), { minLength: 1 }), (given, cuts) => {
      const all = given.map(([length, isMasked]) => frame(length, isMasked));
      const bytes = Buffer.concat(all);
      const ends = new Set<number>([0]);
      let sum = 0;
      for (const each of all) ends.add((sum += each.length));
      const walker = new FrameWalker();
      for (let at = 0, i = 0; at < bytes.length; i++) {
        assert.equal(walker.isBetweenFrames, ends.has(at), `at ${at}`);
        const piece = bytes.subarray(at, at + cuts[i % cuts.length]);
        assert.equal(walker.walk(piece, false), piece.length);
        at += piece.length;
      }
      assert.ok(walker.isBetweenFrames);
    }),
  );
});

test("it stops at the first end of a frame when it is told to", () => {
  const walker = new FrameWalker();
  walker.walk(frame(300, true).subarray(0, 3), false);
  const rest = Buffer.concat([frame(300, true).subarray(3), frame(5, false)]);
  assert.equal(walker.walk(rest, true), rest.length - 7);
  assert.ok(walker.isBetweenFrames);
  assert.equal(walker.walk(rest, true), 0);
});

test("a close frame says that its sender goes away; towards a server it is masked", () => {
  assert.deepEqual(closeFrame(false), Buffer.from([0x88, 0x02, 0x03, 0xe9]));
  const masked = closeFrame(true);
  assert.deepEqual([...masked.subarray(0, 2)], [0x88, 0x82]);
  assert.deepEqual([masked[6] ^ masked[2], masked[7] ^ masked[3]], [0x03, 0xe9]);
});
