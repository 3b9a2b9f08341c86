/** Connections for copies, to a node that takes the connection and reads nothing of it. */

import assert from "node:assert/strict";
import { once } from "node:events";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { test } from "node:test";
import { HeaderList } from "../../lib/headers.ts";
import { Deadlines } from "../deadlines.ts";
import { type UpstreamHandler, type UpstreamTransport, UNKNOWN_LENGTH } from "../transport.ts";
import { eventually } from "../wire-test-kit.ts";
import { UpstreamSessions } from "./upstream-session.ts";

const TIMEOUTS = { connectMs: 60_000, sendMs: 60_000, readMs: 60_000 };
const KEEP_ALIVE = { size: 10, idleTimeoutMs: 600_000, requests: 0 };

const NOBODY: UpstreamHandler = {
  onInformational() {},
  onHead() {},
  onBody: () => true,
  onEnd() {},
  onError() {},
  onWritable() {},
};

test("copies that are given up pile nothing up on a connection that nobody reads: it ends, and the next have a new one", async (t) => {
  const sockets: Socket[] = [];
  const server = createServer({ pauseOnConnect: true }, (socket) => {
    socket.on("error", () => undefined);
    sockets.push(socket);
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  let now = 0;
  const deadlines = new Deadlines(() => now, { sweeping: false });
  const sessions = new UpstreamSessions(deadlines, 10);
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    sessions.closeIdle();
    deadlines.close();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  const node = `grpc#127.0.0.1#${port}`;
  const target = { node, identity: node, address: "127.0.0.1", port, secure: null, isCopy: true };
  const headers = new HeaderList();
  headers.push("host", "Host", "a");
  for (let i = 0; i < 3; i++) headers.push(`x-${i}`, `X-${i}`, "~".repeat(10_000));
  const give = (): UpstreamTransport => {
    const copy = sessions.start(target, NOBODY, TIMEOUTS, KEEP_ALIVE);
    copy.writeHead("POST", "/a.B/C", headers, UNKNOWN_LENGTH);
    return copy;
  };
  const first = give();
  await eventually(() => first.hasSent);
  // Behind what the sockets of the system hold, some hundreds of these.
  let given = 0;
  while (sessions.count().open === 1 && given < 10_000) {
    const copies = Array.from({ length: 20 }, give);
    given += copies.length;
    await new Promise((resolve) => setImmediate(resolve));
    for (const copy of copies) copy.abort();
  }
  assert.equal(sessions.count().open, 2, `after ${given} copies`);
  now += 5001;
  deadlines.sweep();
  await eventually(() => sessions.count().open === 1);
  sessions.closeIdle();
  await eventually(() => sessions.count().open === 0);
});
