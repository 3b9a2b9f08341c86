/** A client that is still sending when it is refused gets to read why. */

import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import { type AddressInfo, connect } from "node:net";
import { test } from "node:test";
import { discardBody } from "./unread-body.ts";

const PIECE = Buffer.alloc(64 * 1024, "x");
const PIECES = 40;

test("a client that sends on reads the answer to its refused body, and no reset", async (t) => {
  const server = createServer((request, response) => {
    void discardBody(request).then(() => response.writeHead(400, { connection: "close" }).end("too large"));
  });
  server.listen(0, "127.0.0.1");
  t.after(() => server.close());
  await once(server, "listening");
  const socket = connect((server.address() as AddressInfo).port, "127.0.0.1");
  let answer = "";
  socket.setEncoding("utf8").on("data", (text: string) => (answer += text));
  socket.write(`PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: ${PIECES * PIECE.length}\r\n\r\n`);
  for (let i = 0; i < PIECES; i++) {
    await new Promise((resolve) => socket.write(PIECE, resolve));
    await new Promise(setImmediate);
  }
  // An `error` would reject.
  await once(socket, "end");
  assert.match(answer, /^HTTP\/1\.1 400 .*too large/s);
});

test("who never ends is not waited for beyond a bound", async (t) => {
  const server = createServer((request, response) => {
    void discardBody(request).then(() => response.writeHead(400, { connection: "close" }).end("too large"));
  });
  server.listen(0, "127.0.0.1");
  t.after(() => server.close());
  await once(server, "listening");
  const socket = connect((server.address() as AddressInfo).port, "127.0.0.1");
  socket.on("error", () => undefined);
  socket.write(`PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: ${1024 ** 3}\r\n\r\n`);
  const push = (): void => {
    while (!socket.destroyed && socket.write(PIECE));
  };
  socket.on("drain", push);
  push();
  // A reset is what such a client gets.
  await new Promise((resolve) => socket.once("close", resolve));
});
