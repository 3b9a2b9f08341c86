import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import type { ClientTransport, UpstreamTransport } from "../transport.ts";
import { RequestBody } from "./request-body.ts";

/** Takes what is written. */
class Target {
  readonly parts: Buffer[] = [];
  hasEnded = false;

  writeBody(chunk: Buffer): boolean {
    this.parts.push(chunk);
    return true;
  }

  writeEnd(): void {
    this.hasEnded = true;
  }

  get text(): string {
    return Buffer.concat(this.parts).toString();
  }
}

function body(): RequestBody {
  const transport = { readBody: () => undefined, resumeBody: () => undefined };
  return new RequestBody(transport as unknown as ClientTransport);
}

function pipe(from: RequestBody): Target {
  const target = new Target();
  from.pipeTo(target as unknown as UpstreamTransport);
  return target;
}

test("what is kept of a body in small parts is few buffers", () => {
  const request = body();
  pipe(request);
  for (let i = 0; i < 20_000; i++) request.onChunk(Buffer.from(String(i % 10)));
  request.unpipe();
  assert.ok(request.isReplayable);
  const again = pipe(request);
  assert.equal(again.text, "0123456789".repeat(2000));
  assert.ok(again.parts.length < 20, `${again.parts.length} parts`);
});

test("every attempt gets the same body, whatever its parts and whenever it is read as a whole", () => {
  const part = fc.oneof(
    fc.string({ minLength: 1, maxLength: 8 }),
    fc.integer({ min: 400, max: 5000 }).map((length) => "x".repeat(length)),
  );
  const step = fc.oneof({ weight: 8, arbitrary: part }, { weight: 1, arbitrary: fc.constant(null) });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), fc.boolean(), (steps, isFiltered) => {
      const request = body();
      if (isFiltered) request.setFilter((chunk) => chunk);
      let target = pipe(request);
      let sent = "";
      for (const one of steps) {
        if (one === null) {
          request.unpipe();
          if (!request.isReplayable) return;
          target = pipe(request);
          assert.equal(target.text, sent);
          continue;
        }
        sent += one;
        request.onChunk(Buffer.from(one));
        assert.equal(target.text, sent);
      }
      request.onEnd(null);
      assert.ok(target.hasEnded);
      const kept = request.kept();
      if (kept !== null) assert.equal(kept.toString(), sent);
    }),
  );
});
