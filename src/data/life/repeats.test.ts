/**
 * P7 through the whole life of a request: a node resets after every byte of what it is sent, and after every byte of what it
 * answers, while another one is well. What may be repeated is answered by the other; what may not is sent once.
 */

import assert from "node:assert/strict";
import { once } from "node:events";
import { request } from "node:http";
import { createServer, type AddressInfo, type Socket } from "node:net";
import { test, type TestContext } from "node:test";
import { wired, type Wired } from "../wire-test-kit.ts";

const ANSWER = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nbroken";
const HEAD_LENGTH = ANSWER.indexOf("\r\n\r\n") + 4;
const BODY = "amount=1";

/** Where the node resets; Infinity: nowhere. */
interface Plan {
  afterRequestBytes: number;
  afterAnswerBytes: number;
}

const WHOLE: Plan = { afterRequestBytes: Infinity, afterAnswerBytes: Infinity };

interface CountingOrigin {
  port: number;
  /** Requests that came whole. */
  whole: number;
  /** Bytes of the last one. */
  length: number;
  plan: Plan;
}

async function countingOrigin(t: TestContext, answer: string): Promise<CountingOrigin> {
  const origin: CountingOrigin = { port: 0, whole: 0, length: 0, plan: WHOLE };
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    socket.once("close", () => sockets.delete(socket));
    let received = "";
    socket.setEncoding("latin1").on("data", (text: string) => {
      received += text;
      const isWhole = isRequest(received);
      if (isWhole) {
        origin.whole++;
        origin.length = received.length;
      }
      const { afterRequestBytes, afterAnswerBytes } = origin.plan;
      if (received.length >= afterRequestBytes) {
        socket.resetAndDestroy();
        return;
      }
      if (!isWhole) return;
      received = "";
      if (afterAnswerBytes === Infinity) socket.write(answer);
      else if (afterAnswerBytes === 0) socket.resetAndDestroy();
      else socket.write(answer.slice(0, afterAnswerBytes), () => socket.resetAndDestroy());
    });
    if (origin.plan.afterRequestBytes === 0) socket.resetAndDestroy();
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  origin.port = (server.address() as AddressInfo).port;
  return origin;
}

function isRequest(text: string): boolean {
  const head = text.indexOf("\r\n\r\n");
  if (head === -1) return false;
  if (/transfer-encoding: chunked/i.test(text)) return text.endsWith("\r\n0\r\n\r\n");
  return text.length === head + 4 + Number(/content-length: (\d+)/i.exec(text)?.[1] ?? 0);
}

interface Heard {
  status: number;
  text: string;
  /** The answer did not end early. */
  isWhole: boolean;
}

type Framing = "no body" | "a length" | "chunks";

function send(port: number, method: string, framing: Framing): Promise<Heard> {
  const hasBody = framing !== "no body";
  const isChunked = framing === "chunks";
  return new Promise((resolve, reject) => {
    const headers = hasBody && !isChunked ? { "content-length": BODY.length } : {};
    const sent = request({ port, method, path: "/", headers, agent: false }, (response) => {
      let text = "";
      response.setEncoding("latin1").on("data", (more: string) => (text += more));
      response.on("error", () => {});
      response.on("close", () => resolve({ status: response.statusCode!, text, isWhole: response.complete }));
    });
    sent.on("error", reject);
    if (hasBody && isChunked) sent.write(BODY.slice(0, 3));
    sent.end(hasBody ? BODY.slice(isChunked ? 3 : 0) : undefined);
  });
}

interface Bench {
  gateway: Wired;
  breaking: CountingOrigin;
  sound: CountingOrigin;
}

async function bench(t: TestContext): Promise<Bench> {
  const breaking = await countingOrigin(t, ANSWER);
  const sound = await countingOrigin(t, ANSWER.replace("broken", "sound."));
  const node = ({ port }: CountingOrigin, priority: number) => ({
    host: "127.0.0.1",
    port,
    weight: 1,
    priority,
  });
  const upstream = {
    nodes: [node(breaking, 1), node(sound, 0)],
    retry_budget: { percent: 100, per_second: 1000 },
  };
  const gateway = await wired(t, { routes: [{ id: "1", uri: "/*", upstream }] });
  return { gateway, breaking, sound };
}

/** `isRare`: on fresh connections alone. */
const CASES: readonly (readonly [method: string, framing: Framing, mayRepeat: boolean, isRare: boolean])[] = [
  ["GET", "no body", true, false],
  ["DELETE", "no body", true, true],
  ["PUT", "a length", true, true],
  ["PUT", "chunks", true, false],
  ["POST", "a length", false, false],
  ["POST", "no body", false, false],
  ["POST", "chunks", false, true],
  ["PATCH", "a length", false, true],
];

for (const [method, framing, mayRepeat, isRare] of CASES) {
  const what = `${method} with ${framing}`;

  test(`P7: ${what} is ${mayRepeat ? "answered by the other node" : "sent once"}, wherever a node resets`, async (t) => {
    const { gateway, breaking, sound } = await bench(t);
    const { port } = gateway;
    assert.equal((await send(port, method, framing)).text, "broken");
    const { length } = breaking;
    const plans: Plan[] = [];
    for (let at = 0; at <= length; at++) plans.push({ ...WHOLE, afterRequestBytes: at });
    for (let at = 0; at < ANSWER.length; at++) plans.push({ ...WHOLE, afterAnswerBytes: at });
    for (const isReused of isRare ? [false] : [false, true]) {
      for (const plan of plans) {
        const said = `${isReused ? "reused" : "fresh"} ${JSON.stringify(plan)}`;
        breaking.plan = WHOLE;
        if (isReused) assert.equal((await send(port, "GET", "no body")).status, 200);
        breaking.plan = plan;
        breaking.whole = sound.whole = 0;
        const heard = await send(port, method, framing);
        const hasHead = plan.afterAnswerBytes !== Infinity && plan.afterAnswerBytes >= HEAD_LENGTH;
        if (hasHead) {
          // The client has seen the head: another answer cannot follow.
          assert.deepEqual(
            [heard.status, heard.isWhole, breaking.whole, sound.whole],
            [200, false, 1, 0],
            said,
          );
        } else if (mayRepeat) {
          assert.deepEqual([heard.status, heard.text, sound.whole], [200, "sound.", 1], said);
          // Once more on a fresh connection when a kept one was closed: nobody knows whether it was seen.
          assert.ok(breaking.whole <= (isReused ? 2 : 1), `${said}: ${breaking.whole}`);
        } else {
          assert.ok(breaking.whole + sound.whole <= 1, `${said}: ${breaking.whole} and ${sound.whole}`);
          // What resets before a byte may be one that nothing was sent to.
          if (plan.afterRequestBytes !== 0) assert.deepEqual([heard.status, sound.whole], [502, 0], said);
        }
        // A connection that is left over must not be the next plan's.
        breaking.plan = { ...WHOLE, afterRequestBytes: 1 };
        await send(port, "GET", "no body");
      }
    }
  });
}
