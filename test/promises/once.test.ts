/** P7: nothing is sent twice that must not be. End to end; every byte offset is tried in `src/data/upstream` and `src/data/life`. */

import assert from "node:assert/strict";
import type { Socket } from "node:net";
import { test, type TestContext } from "node:test";
import { namedOrigin, rawOrigin, upstreamOf } from "./origins.ts";
import { RealNode } from "./real-node.ts";

interface Breaking {
  address: string;
  /** Requests that it has read to their end, before it closed without an answer. */
  taken: number;
}

/** Reads a whole request, then closes; or resets in the midst of its answer. */
async function breakingOrigin(t: TestContext, begin = ""): Promise<Breaking> {
  const breaking: Breaking = { address: "", taken: 0 };
  const origin = await rawOrigin(t, (socket: Socket) => {
    let received = "";
    socket.setEncoding("latin1").on("data", (text: string) => {
      received += text;
      const head = received.indexOf("\r\n\r\n");
      const length = Number(/content-length: (\d+)/i.exec(received)?.[1] ?? 0);
      if (head === -1 || received.length < head + 4 + length) return;
      breaking.taken++;
      if (begin === "") socket.destroy();
      else socket.end(begin);
    });
  });
  breaking.address = origin.address;
  return breaking;
}

test("P7: a POST that an upstream may have processed is not sent to another", async (t) => {
  const node = await RealNode.start(t);
  const origins = [await breakingOrigin(t), await breakingOrigin(t)];
  await node.put("/routes/all", { uri: "/*", upstream: { ...upstreamOf(...origins), retries: 3 } });
  for (let i = 1; i <= 10; i++) {
    const reply = await fetch(`${node.url()}/order`, { method: "POST", body: "buy" });
    assert.equal(reply.status, 502);
    await reply.text();
    assert.equal(origins[0].taken + origins[1].taken, i);
  }
});

test("P7: a GET is tried on another node, once each", async (t) => {
  const node = await RealNode.start(t);
  const broken = await breakingOrigin(t);
  const sound = await namedOrigin(t, "sound");
  await node.put("/routes/all", { uri: "/*", upstream: upstreamOf(broken, sound) });
  for (let i = 0; i < 10; i++) {
    const { status, text } = await node.get(`/read/${i}`);
    assert.deepEqual([status, text], [200, `sound /read/${i}`]);
  }
  assert.ok(broken.taken > 0 && broken.taken <= 10, `${broken.taken} were tried on the broken node`);
});

test("P7: an answer that breaks off after its head was passed on is not begun anew", async (t) => {
  const node = await RealNode.start(t);
  const half = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf";
  const origins = [await breakingOrigin(t, half), await breakingOrigin(t, half)];
  await node.put("/routes/all", { uri: "/*", upstream: upstreamOf(...origins) });
  for (let i = 1; i <= 10; i++) {
    await assert.rejects(node.get("/half"), "the client sees that it is not whole");
    assert.equal(origins[0].taken + origins[1].taken, i);
  }
});
