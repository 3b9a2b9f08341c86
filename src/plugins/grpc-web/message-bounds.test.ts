import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { MessageBounds } from "./message-bounds.ts";

test("a body is between messages exactly where one has ended, however it is cut", () => {
  fc.assert(
    fc.property(
      fc.array(fc.nat({ max: 600 }), { maxLength: 5 }),
      fc.integer({ min: 1, max: 70 }),
      (lengths, step) => {
        const ends = new Set([0]);
        const messages: Buffer[] = [];
        for (const length of lengths) {
          const message = Buffer.alloc(5 + length, 0xff);
          message.writeUInt32BE(length, 1);
          messages.push(message);
          ends.add(messages.reduce((sum, one) => sum + one.length, 0));
        }
        const body = Buffer.concat(messages);
        const bounds = new MessageBounds();
        for (let at = 0; at < body.length; at += step) {
          bounds.pass(body.subarray(at, at + step));
          assert.equal(bounds.isBetween, ends.has(Math.min(at + step, body.length)));
        }
      },
    ),
  );
});
