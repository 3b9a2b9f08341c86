/** Mutated requests on real connections: whatever comes, the connection reaches its end and the listener serves on. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { echoListener } from "../shapes/echo-listener.ts";
import { REQUEST_SHAPES } from "../shapes/requests.ts";
import { WireClient } from "../shapes/wire-client.ts";
import { fuzzRuns, mutate, Random } from "./random.ts";

const SEEDS = REQUEST_SHAPES.filter((shape) => shape.raw.length < 2000).map((shape) =>
  Buffer.from(shape.raw, "latin1"),
);

test("P1: mutated requests end with answers and a close, never with a fault or a hang", async (t) => {
  const random = Random.fromEnvironment();
  t.diagnostic(`FUZZ_SEED=${random.seed}`);
  const echo = await echoListener();
  const runs = fuzzRuns(600);
  for (let run = 0; run < runs; run++) {
    const bytes = Buffer.concat([mutate(random, random.pick(SEEDS)), mutate(random, random.pick(SEEDS))]);
    const client = await WireClient.open(echo.port);
    const cut = random.below(bytes.length);
    client.send(bytes.subarray(0, cut));
    if (random.chance(0.5)) await new Promise((resolve) => setImmediate(resolve));
    client.send(bytes.subarray(cut));
    client.socket.end();
    const text = await client.rest();
    assert.ok(text === "" || text.startsWith("HTTP/1.1 "), JSON.stringify([text, bytes.toString("latin1")]));
    client.close();
  }
  const last = await WireClient.open(echo.port);
  last.send("GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
  assert.match(await last.rest(), /"target":"\/last"/);
  last.close();
  assert.deepEqual(
    echo.refused.filter((code) => code.startsWith("fault")),
    [],
  );
  await echo.listener.drain();
  assert.equal(echo.count.active, 0);
  echo.deadlines.close();
});
