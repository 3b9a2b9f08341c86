/** What `POST /v1/explain` takes, what it refuses, and how the lack of an answer looks. */

import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { fastify } from "fastify";
import { Explanations, type WorkerLine } from "../../control/explanations.ts";
import type { DescribedRequest, Explanation } from "../../shared/explanation.ts";
import type { ExplainMessage } from "../../shared/messages.ts";
import { describedRequest, DescriptionError } from "./described-request.ts";
import { addExplain } from "./explain.ts";

test("a described request is completed with what a client would send", () => {
  const whole: DescribedRequest = {
    method: "GET",
    authority: "a.com:81",
    target: "/a%20b?c=1",
    headers: [
      ["X-A", "1"],
      ["X-B", "2"],
      ["X-B", "3"],
    ],
    clientAddress: "127.0.0.1",
    scheme: "https",
    serverPort: 443,
    body: null,
    consumer: null,
    route: "7",
  };
  const headers = { "X-A": 1, "X-B": ["2", "3"], Host: "b.com" };
  assert.deepEqual(
    describedRequest({ uri: "/a b?c=1", scheme: "https", host: "A.com:81", headers, route: 7 }),
    whole,
  );
  const { authority, target, scheme } = describedRequest({ uri: "https://B.com?x" });
  assert.deepEqual([authority, target, scheme], ["b.com", "/?x", "https"]);
  assert.equal(describedRequest({ uri: "/", headers: { host: "c.com" } }).authority, "c.com");
});

const refusals: [body: unknown, field: RegExp][] = [
  [null, /^expected an object/],
  [{}, /^uri: given nothing/],
  [{ uri: "a" }, /^uri: given "a"/],
  [{ uri: "/", method: "G T" }, /^method: given "G T"/],
  [{ uri: "/", host: "a/b" }, /^host: /],
  [{ uri: "/", client_address: "here" }, /^client_address: /],
  [{ uri: "/", port: 0 }, /^port: given 0/],
  [{ uri: "/", scheme: "ftp" }, /^scheme: /],
  [{ uri: "/", body: 1 }, /^body: /],
  [{ uri: "/", headers: [] }, /^headers: /],
  [{ uri: "/", headers: { "a b": "" } }, /^headers: /],
  [{ uri: "/", headers: { a: "1\r\nb: 2" } }, /^headers\.a: /],
  [{ uri: "/", headers: { a: null } }, /^headers\.a: given null/],
  [{ uri: "/", headers: { a: Array.from({ length: 101 }, () => "") } }, /at most 100/],
  [{ uri: "/", hsot: "a" }, /^hsot: .*expected one of the fields/],
];
for (const [body, message] of refusals) {
  test(`a description is refused: ${String(message)}`, () => {
    assert.throws(
      () => describedRequest(body),
      (error) => error instanceof DescriptionError && message.test(error.message),
    );
  });
}

const EXPLANATION = { worker: 0, revision: 1 } as Explanation;

/** Hears questions, and answers when told to. */
class Line implements WorkerLine {
  readonly questions: ExplainMessage[] = [];
  serves = true;
  onExplained: WorkerLine["onExplained"] = null;

  ask(question: ExplainMessage): boolean {
    if (this.serves) this.questions.push(question);
    return this.serves;
  }

  answer(explanation: Explanation | { error: string; isMistake: boolean }): void {
    const { question } = this.questions.shift()!;
    this.onExplained!({ type: "explained", question, explanation });
  }
}

function api(t: TestContext, line: Line, timeoutMs?: number) {
  const server = fastify();
  addExplain(server, new Explanations(line, timeoutMs));
  t.after(() => server.close());
  return async (payload: string) => {
    const { statusCode, json } = await server.inject({ method: "POST", url: "/v1/explain", payload });
    return [statusCode, json()] as const;
  };
}

async function asked(line: Line): Promise<void> {
  while (line.questions.length === 0) await new Promise((resolve) => setImmediate(resolve));
}

test("a worker's answer is the answer, its refusal is a 400", async (t) => {
  const line = new Line();
  const post = api(t, line);
  const first = post('{"uri": "/a"}');
  await asked(line);
  assert.equal(line.questions[0].request.target, "/a");
  line.answer(EXPLANATION);
  assert.deepEqual(await first, [200, EXPLANATION]);
  const second = post('{"uri": "/a"}');
  await asked(line);
  line.answer({ error: "consumer: there is none", isMistake: true });
  assert.deepEqual(await second, [400, { error_msg: "consumer: there is none" }]);
});

test("without a worker it is 503, too late 504, and what is no JSON 400", async (t) => {
  const line = new Line();
  const post = api(t, line, 1);
  assert.deepEqual(await post('{"uri": "/a"}'), [504, { error_msg: "no worker answered within 0.001 s" }]);
  line.serves = false;
  assert.deepEqual(await post('{"uri": "/a"}'), [503, { error_msg: "no worker serves now" }]);
  assert.equal((await post("{"))[0], 400);
});

test("only so many questions wait at once", async () => {
  const line = new Line();
  const explanations = new Explanations(line);
  const request = describedRequest({ uri: "/" });
  const waiting = Array.from({ length: 16 }, () => explanations.explain(request));
  const outcome = await explanations.explain(request);
  assert.ok("failure" in outcome && outcome.failure === "too many");
  for (let i = 0; i < 16; i++) line.answer(EXPLANATION);
  await Promise.all(waiting);
});
