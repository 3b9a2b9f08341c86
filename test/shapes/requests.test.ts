/** Every row of `requests.ts` against a real listener. */

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { echoListener, type EchoListener, type Understood } from "./echo-listener.ts";
import { type Forwarded, REQUEST_SHAPES } from "./requests.ts";
import { WireClient } from "./wire-client.ts";

function checkForwarded(understood: Understood, expected: Forwarded): void {
  for (const key of ["method", "target", "host", "length", "body", "upgrade"] as const) {
    if (expected[key] !== undefined) assert.equal(understood[key], expected[key], key);
  }
  const lines = understood.headers.map(([name, value]) => `${name}: ${value}`);
  for (const field of expected.fields ?? [])
    assert.ok(lines.includes(field), `${field} in ${lines.join(" | ")}`);
  const names = new Set(understood.headers.map(([name]) => name.toLowerCase()));
  for (const name of expected.without ?? []) assert.ok(!names.has(name), `no ${name}`);
  if (expected.trailers !== undefined) {
    assert.deepEqual(
      understood.trailers.map(([name, value]) => `${name}: ${value}`),
      expected.trailers,
    );
  }
}

describe("P1: request shapes", () => {
  let echo: EchoListener;
  before(async () => {
    echo = await echoListener();
  });
  after(() => {
    echo.listener.close();
    echo.deadlines.close();
  });

  test("names are unique and the table is large", () => {
    assert.equal(new Set(REQUEST_SHAPES.map((shape) => shape.name)).size, REQUEST_SHAPES.length);
    assert.ok(REQUEST_SHAPES.length >= 250, `${REQUEST_SHAPES.length} rows`);
  });

  for (const { name, raw, verdict } of REQUEST_SHAPES) {
    test(`${name} → ${"status" in verdict ? verdict.status : "forwarded"}`, async (t) => {
      const seenBefore = echo.seen.length;
      const client = await WireClient.open(echo.port);
      // Also when it fails: an open connection would keep the whole file waiting.
      t.after(() => client.close());
      client.send(raw);
      if ("status" in verdict) {
        const answer = await client.answer();
        assert.equal(answer?.status, verdict.status, answer?.body);
        assert.match(answer.head, /\r\nConnection: close/);
        assert.match(answer.body, /^\{"error_msg":".+"\}\n$/);
        assert.equal(await client.rest(), "", "nothing but one answer");
        assert.equal(echo.seen.length, seenBefore, "no exchange completed");
      } else {
        const isHead = raw.startsWith("HEAD");
        await (isHead
          ? client.until((text) => text.includes("\r\n\r\n"))
          : client.until((text) => text.endsWith("}")));
        assert.match(client.received, /^HTTP\/1\.1 200 OK\r\n/);
        const understood = echo.seen[seenBefore];
        checkForwarded(understood, verdict);
        assert.equal(echo.seen.length, seenBefore + 1, "one request");
      }
    });
  }
});
