import assert from "node:assert/strict";
import { once } from "node:events";
import type { Socket } from "node:net";
import { test, type TestContext } from "node:test";
import * as fc from "fast-check";
import { Output } from "./output.ts";
import { readAll, socketPair } from "./socket-test-kit.ts";
import { SocketWriter } from "./socket-writer.ts";
import { Stage } from "./stage.ts";

interface Line {
  near: Socket;
  far: Socket;
  output: Output;
  /** Ends when nothing waits in the socket any more. */
  drained(): Promise<void>;
}

async function line(t: TestContext): Promise<Line> {
  const { near, far } = await socketPair(t);
  let drain = Promise.withResolvers<void>();
  const writer = new SocketWriter(near, () => {
    drain.resolve();
    drain = Promise.withResolvers<void>();
  });
  const output = new Output(writer);
  return { near, far, output, drained: () => (output.isBlocked ? drain.promise : Promise.resolve()) };
}

/** `length` bytes that tell where they belong. */
function body(name: string, length: number): Buffer {
  return Buffer.from(`${name}.`.repeat(length).slice(0, length), "latin1");
}

test("answers of many connections in one turn keep to their connections and their order, whatever is flushed when", async (t) => {
  const lines = await Promise.all([line(t), line(t), line(t)]);
  const received = lines.map(({ far }) => readAll(far));
  const expected = lines.map(() => "");
  const step = fc.record({
    on: fc.nat(lines.length - 1),
    size: fc.constantFrom(0, 1, 1000, 2048, 2049, 16_384, 16_385, 40_000),
    then: fc.constantFrom("flush", "soon", "nothing", "turn"),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 30 }), async (steps) => {
      for (const [i, { on, size, then }] of steps.entries()) {
        const { output, drained } = lines[on];
        const text = `${i}:head of ${size}\r\n`;
        output.text(text);
        const chunk = body(`${on}-${i}`, size);
        const copy = chunk.toString("latin1");
        if (size > 0) output.chunk(chunk);
        // The lender uses its buffer again at once.
        chunk.fill("!");
        expected[on] += text + copy;
        if (then === "flush") output.flush();
        else output.flushSoon();
        if (then === "turn") await drained();
      }
      for (const { output, drained } of lines) {
        output.flush();
        await drained();
      }
    }),
    { numRuns: 60 },
  );
  for (const { near } of lines) near.end();
  assert.deepEqual(await Promise.all(received), expected);
});

test("what the kernel does not take stays as it was, while others go on writing", async (t) => {
  const [slow, other] = await Promise.all([line(t), line(t)]);
  const otherReceived = readAll(other.far);
  let expected = "";
  let otherExpected = "";
  for (let i = 0; !slow.output.isBlocked; i++) {
    const piece = body(`slow ${i}`, 15_000);
    expected += piece.toString("latin1");
    slow.output.chunk(piece);
    slow.output.flush();
  }
  for (let i = 0; i < 100; i++) {
    const piece = body(`other ${i}`, 15_000);
    otherExpected += piece.toString("latin1");
    other.output.chunk(piece);
    other.output.flush();
    await other.drained();
  }
  slow.output.text("the end");
  slow.output.flush();
  slow.near.end();
  other.near.end();
  assert.equal(await readAll(slow.far), `${expected}the end`);
  assert.equal(await otherReceived, otherExpected);
});

test("a client that reads slowly takes a stage from the others once, not with each write", async (t) => {
  const { near, far, output, drained } = await line(t);
  const stages = [Stage.current];
  let expected = "";
  let received = "";
  far.on("data", (chunk) => (received += chunk.toString("latin1")));
  for (let round = 0; round < 3; round++) {
    far.pause();
    for (let i = 0; !output.isBlocked; i++) {
      const piece = body(`${round}-${i}`, 15_000);
      expected += piece.toString("latin1");
      output.chunk(piece);
      output.flush();
    }
    stages.push(Stage.current);
    far.resume();
    await drained();
  }
  near.end();
  await once(far, "end");
  assert.equal(received === expected, true);
  assert.deepEqual(
    stages.map((stage) => stage === stages[1]),
    [false, true, true, true],
  );
});

test("what nobody flushed goes out when the turn ends, in one write for head and body", async (t) => {
  const { near, output } = await line(t);
  const writes: string[] = [];
  const write = near._write.bind(near);
  near._write = (data: Buffer | string, encoding, callback) => {
    writes.push(data.toString("latin1"));
    write(data, encoding, callback);
  };
  output.text("head\r\n");
  output.flushSoon();
  output.chunk(body("b", 1000));
  output.text("\r\n");
  output.flushSoon();
  await Promise.resolve();
  assert.deepEqual(writes, []);
  // Behind the one of the end of this turn.
  await new Promise((resolve) => {
    setImmediate(resolve);
  });
  assert.deepEqual(writes, [`head\r\n${body("b", 1000).toString("latin1")}\r\n`]);
});

test("writing to a connection that is gone does no harm to what others have on the stage", async (t) => {
  const [gone, other] = await Promise.all([line(t), line(t)]);
  const received = readAll(other.far);
  gone.output.chunk(body("gone", 1000));
  other.output.chunk(body("other", 1000));
  gone.near.destroy();
  gone.output.flush();
  gone.output.chunk(body("gone", 1000));
  gone.output.flush();
  other.output.flush();
  other.near.end();
  assert.equal(await received, body("other", 1000).toString("latin1"));
});
