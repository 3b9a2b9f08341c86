/** What a client is told when the worker has as many connections to a node as it may have. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { Origin } from "./http1/upstream-test-kit.ts";
import { eventually, wired } from "./wire-test-kit.ts";

const GET = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
const LIMIT = "cardea: { upstream: { max_connections_per_node: 1 } }";

for (const [name, retries] of [
  ["without retries", 0],
  ["with a retry on the same node", 1],
] as const) {
  test(`a request beyond the connections of its node is answered 503, ${name}`, async (t) => {
    let received = 0;
    const origin = await new Origin(() => void received++).listen();
    t.after(() => origin.close());
    const upstream = { nodes: { [`127.0.0.1:${origin.port}`]: 1 }, retries };
    const gateway = await wired(t, { config: LIMIT, routes: [{ uri: "/*", upstream }] });
    const waiting = await gateway.connect();
    waiting.write(GET);
    await eventually(() => received === 1);
    const refused = await gateway.connect();
    const answer = await refused.write(GET).ended();
    assert.match(answer, /^HTTP\/1\.1 503 /);
    assert.match(answer, /X-APISIX-Upstream-Status: 503/);
    assert.equal(received, 1);
  });
}
