/** What a client without a key, or a page in the browser of one that has it, can make the Admin API do: nothing. */

import assert from "node:assert/strict";
import { connect } from "node:net";
import { after, before, test } from "node:test";
import { KEY, TestNode } from "./node.ts";

let node: TestNode;

before(async () => {
  node = await new TestNode().start();
});
after(() => node.dispose());

test("a request without a key is refused before its body is read", async () => {
  const { hostname, port } = new URL(node.url);
  const socket = connect(Number(port), hostname);
  try {
    socket.write(
      "PUT /apisix/admin/routes/1 HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 1000000\r\n\r\n{",
    );
    const { promise, resolve } = Promise.withResolvers<string>();
    socket.once("data", (bytes) => resolve(bytes.toString("latin1")));
    assert.match(await promise, /^HTTP\/1\.1 401 /);
  } finally {
    socket.destroy();
  }
  assert.deepEqual(
    node.audited.map((line) => [line["method"], line["author"], line["status"]]),
    [["PUT", null, 401]],
  );
});

test("a page of another origin cannot write with the cookie of its reader", async () => {
  const post = async (origin: string): Promise<number> => {
    const headers = { cookie: `x_api_key=${KEY}`, origin, "content-type": "text/plain" };
    const body = JSON.stringify({ uri: "/a", upstream: { nodes: { "127.0.0.1:1": 1 } } });
    const response = await fetch(`${node.url}/apisix/admin/routes`, { method: "POST", headers, body });
    await response.text();
    return response.status;
  };
  assert.equal(await post("http://127.0.0.1:5555"), 401);
  assert.equal(await post("null"), 401);
  assert.equal(await post(node.url), 201);
});
