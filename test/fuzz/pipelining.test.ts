/** Any split of any sequence of requests on one real connection gives the same sequence of answers. */

import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { echoListener, type Understood } from "../shapes/echo-listener.ts";
import { WireClient } from "../shapes/wire-client.ts";

const request = fc.record({
  method: fc.constantFrom("GET", "POST", "PUT", "DELETE"),
  path: fc.stringMatching(/^\/[a-z]{0,20}$/),
  fields: fc.array(fc.tuple(fc.stringMatching(/^X-[a-z]{1,9}$/), fc.stringMatching(/^[!-~]{0,30}$/)), {
    maxLength: 4,
  }),
  framing: fc.constantFrom("none", "length", "chunked"),
  body: fc.string({ maxLength: 3000 }).map((text) => Buffer.from(text, "utf8").toString("latin1")),
  chunkBytes: fc.integer({ min: 1, max: 500 }),
});

type Given = typeof request extends fc.Arbitrary<infer T> ? T : never;

function wireOf({ method, path, fields, framing, body, chunkBytes }: Given): string {
  let text = `${method} ${path} HTTP/1.1\r\nHost: a\r\n`;
  for (const [name, value] of fields) text += `${name}: ${value}\r\n`;
  if (framing === "none") return `${text}\r\n`;
  if (framing === "length") return `${text}Content-Length: ${body.length}\r\n\r\n${body}`;
  text += "Transfer-Encoding: chunked\r\n\r\n";
  for (let at = 0; at < body.length; at += chunkBytes) {
    const chunk = body.slice(at, at + chunkBytes);
    text += `${chunk.length.toString(16)}\r\n${chunk}\r\n`;
  }
  return `${text}0\r\n\r\n`;
}

function check(understood: Understood, { method, path, fields, framing, body }: Given): void {
  assert.equal(understood.method, method);
  assert.equal(understood.target, path);
  assert.deepEqual(
    understood.headers.filter(([name]) => name.startsWith("X-")),
    fields,
  );
  assert.equal(understood.body, framing === "none" ? "" : body);
}

test("P1: pipelined requests in any pieces are understood and answered one by one, in order", async () => {
  const echo = await echoListener();
  try {
    await fc.assert(
      fc.asyncProperty(
        fc.array(request, { minLength: 1, maxLength: 6 }),
        fc.array(fc.integer({ min: 1, max: 400 }), { minLength: 1, maxLength: 20 }),
        fc.boolean(),
        async (requests, pieceBytes, yields) => {
          const wire = Buffer.from(requests.map(wireOf).join(""), "latin1");
          const client = await WireClient.open(echo.port);
          for (let at = 0, piece = 0; at < wire.length; piece++) {
            const end = at + pieceBytes[piece % pieceBytes.length];
            client.send(wire.subarray(at, end));
            at = end;
            // In separate turns pieces reach the listener in separate reads, more often than not.
            if (yields) await new Promise((resolve) => setImmediate(resolve));
          }
          for (const given of requests) {
            const answer = await client.answer();
            assert.equal(answer?.status, 200);
            check(JSON.parse(Buffer.from(answer.body, "latin1").toString("utf8")) as Understood, given);
          }
          assert.equal(client.received, "");
          client.close();
        },
      ),
      { numRuns: 60 },
    );
  } finally {
    echo.listener.close();
    echo.deadlines.close();
  }
});
