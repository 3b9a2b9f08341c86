/**
 * P7: nothing is sent twice that must not be. A counting origin breaks off after every byte offset of the
 * request, and at every byte offset of its answer, on fresh and on reused connections; requests are retried
 * as the policy says, and the origin counts whole requests.
 */

import assert from "node:assert/strict";
import { after, test } from "node:test";
import type { UpstreamDefaults } from "../../config/static-config.ts";
import type { PublishedUpstream } from "../../model/published.ts";
import { Deadlines } from "../deadlines.ts";
import { NO_HEADERS, Origin, RecordingHandler, type OriginConnection } from "../http1/upstream-test-kit.ts";
import { AddressBook } from "./address-book.ts";
import { TriedNodes } from "./node.ts";
import { ConnectionPools } from "./pool.ts";
import { Upstream } from "./upstream.ts";

const ANSWER = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";
const BODY = "amount=1";
const REQUEST_LENGTHS = { GET: requestText("GET").length, POST: requestText("POST").length };

function requestText(method: string): string {
  return method === "POST" ? `POST / HTTP/1.1\r\nContent-Length: 8\r\n\r\n${BODY}` : "GET / HTTP/1.1\r\n\r\n";
}

/** The origin's plan for its next request: where to reset. */
interface Plan {
  /** Reset once so many bytes of the request were received; Infinity: not. */
  afterRequestBytes: number;
  /** Reset after so many bytes of the answer; Infinity: not. */
  afterAnswerBytes: number;
}

const WHOLE: Plan = { afterRequestBytes: Infinity, afterAnswerBytes: Infinity };

interface Bench {
  upstream: Upstream;
  /** Whole requests that the origin received since `plan`. */
  counted: () => number;
  /** Plans of the requests to come, in order; afterwards all is well. */
  plan: (...plans: Plan[]) => void;
}

async function bench(retries: number): Promise<Bench> {
  let plans: Plan[] = [];
  let whole = 0;
  let nowMs = 0;
  const state = new WeakMap<OriginConnection, Plan>();
  const origin = await new Origin((connection) => {
    let plan = state.get(connection);
    if (plan === undefined) state.set(connection, (plan = plans.shift() ?? WHOLE));
    const { received, socket } = connection;
    const isWhole = received === requestText("GET") || received === requestText("POST");
    if (isWhole) whole++;
    if (received.length >= plan.afterRequestBytes) {
      socket.resetAndDestroy();
      return;
    }
    if (!isWhole) return;
    connection.received = "";
    state.delete(connection);
    if (plan.afterAnswerBytes === Infinity) socket.write(ANSWER);
    else if (plan.afterAnswerBytes === 0) socket.resetAndDestroy();
    else socket.write(ANSWER.slice(0, plan.afterAnswerBytes), () => socket.resetAndDestroy());
  }).listen();
  const deadlines = new Deadlines(() => 0, { sweeping: false });
  const pools = new ConnectionPools(deadlines, {
    maxConnectionsPerNode: 8,
    maxHeaderBytes: 16_384,
    maxHeaders: 100,
  });
  after(() => {
    origin.close();
    pools.closeIdle();
  });
  const upstream = new Upstream(
    {
      nodes: [{ host: "127.0.0.1", port: origin.port, weight: 1, priority: 0 }],
      type: "roundrobin",
      hash_on: "vars",
      scheme: "http",
      pass_host: "pass",
      retries,
    } satisfies PublishedUpstream,
    {
      defaults: {
        connectTimeoutMs: 5_000,
        sendTimeoutMs: 5_000,
        readTimeoutMs: 5_000,
        keepalive: { size: 4, idleTimeoutMs: 60_000, requests: 0 },
      } as UpstreamDefaults,
      addresses: new AddressBook(),
      pools,
      health: null,
      workerSlot: 0,
      now: () => nowMs,
      random: Math.random,
    },
  );
  const plan = (...next: Plan[]): void => {
    plans = next;
    // The floor of the retry budget is full again.
    nowMs += 1_000;
    whole = 0;
  };
  return { upstream, counted: () => whole, plan };
}

/** One request with its retries, as the exchange makes them. The body of a POST is written byte by byte. */
async function send(upstream: Upstream, method: "GET" | "POST"): Promise<{ outcome: string; heard: number }> {
  const request = { variable: () => undefined };
  let heard = 0;
  for (let attempts = 1; ; attempts++) {
    const node = upstream.pick(request, TriedNodes.NONE)!;
    const handler = new RecordingHandler();
    const attempt = upstream.connect(node, handler);
    attempt.writeHead(method, "/", NO_HEADERS, method === "POST" ? BODY.length : 0);
    for (const byte of method === "POST" ? BODY : "") {
      await new Promise(setImmediate);
      attempt.writeBody(Buffer.from(byte));
    }
    attempt.writeEnd(null);
    await handler.ended;
    upstream.finished(node, 1, handler.failure === null);
    if (handler.head !== null) heard++;
    const mayRetry =
      handler.failure !== null &&
      handler.head === null &&
      upstream.mayRetry(attempts, 0, { method, hasSent: attempt.hasSent, isReplayable: true });
    if (!mayRetry) return { outcome: handler.outcome, heard };
  }
}

for (const isReused of [false, true]) {
  const connection = isReused ? "a reused" : "a fresh";

  test(`a POST on ${connection} connection reaches the origin once at most, wherever it breaks off`, async () => {
    const { upstream, counted, plan } = await bench(5);
    const plans: Plan[] = [];
    for (let at = 1; at <= REQUEST_LENGTHS.POST; at++) plans.push({ ...WHOLE, afterRequestBytes: at });
    for (let at = 0; at < ANSWER.length; at++) plans.push({ ...WHOLE, afterAnswerBytes: at });
    for (const broken of plans) {
      plan();
      if (isReused) await send(upstream, "GET");
      plan(broken);
      const { outcome, heard } = await send(upstream, "POST");
      assert.ok(counted() <= 1, `${counted()} requests with ${JSON.stringify(broken)}`);
      assert.ok(heard <= 1);
      assert.equal(outcome, "reset", JSON.stringify(broken));
    }
  });

  test(`a GET on ${connection} connection is repeated until it is answered, and answered once`, async () => {
    const { upstream, plan } = await bench(5);
    const headLength = ANSWER.indexOf("\r\n\r\n") + 4;
    for (let at = 0; at < ANSWER.length; at++) {
      plan();
      if (isReused) await send(upstream, "GET");
      plan({ ...WHOLE, afterAnswerBytes: at });
      const { outcome, heard } = await send(upstream, "GET");
      // Once the head was passed on, a repeat would give the client two answers.
      assert.equal(outcome, at < headLength ? "200 ok" : "reset", `at ${at}`);
      assert.equal(heard, 1);
    }
  });
}

test("with retries 0 an idempotent request on a fresh connection is sent once", async () => {
  const { upstream, counted, plan } = await bench(0);
  plan({ ...WHOLE, afterAnswerBytes: 0 });
  assert.equal((await send(upstream, "GET")).outcome, "reset");
  assert.equal(counted(), 1);
});

test("an upstream that always breaks gets a bounded number of repeats", async () => {
  const { upstream, counted, plan } = await bench(3);
  plan(...Array.from({ length: 1_000 }, () => ({ ...WHOLE, afterAnswerBytes: 0 })));
  const requests = 100;
  for (let i = 0; i < requests; i++) await send(upstream, "GET");
  assert.ok(counted() < requests * 1.2 + 30, `${counted()} requests`);
});
