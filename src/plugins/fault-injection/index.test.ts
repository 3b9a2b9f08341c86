import assert from "node:assert/strict";
import { mock, test } from "node:test";
import { testGateway } from "../../testing/index.ts";
import faultInjection from "./index.ts";

function gatewayWith(config: object) {
  return testGateway({
    routes: [{ uri: "/*", plugins: { "fault-injection": config }, upstream: { nodes: { "a:80": 1 } } }],
  });
}

const vars = [
  [
    ["arg_name", "==", "jack"],
    ["arg_age", "!", "<", 18],
  ],
  [["http_apikey", "==", "api-key"]],
];

for (const { abort, target, headers, status, text } of [
  { abort: { http_status: 405, body: "Fault!\n" }, status: 405, text: "Fault!\n" },
  { abort: { http_status: 200 }, status: 200, text: "" },
  { abort: { http_status: 200, body: "from $remote_addr" }, status: 200, text: "from 127.0.0.1" },
  { abort: { http_status: 500, percentage: 0 }, status: 200, text: "upstream" },
  { abort: { http_status: 500, percentage: 100, body: "x" }, status: 500, text: "x" },
  { abort: { http_status: 403, vars, body: "x" }, target: "/?name=jack&age=18", status: 403, text: "x" },
  {
    abort: { http_status: 403, vars, body: "x" },
    target: "/?name=jack&age=17",
    status: 200,
    text: "upstream",
  },
  { abort: { http_status: 403, vars, body: "x" }, headers: { apikey: "api-key" }, status: 403, text: "x" },
  { abort: { http_status: 403, vars: [] }, status: 200, text: "upstream" },
]) {
  test(`${JSON.stringify(abort)} answers ${status} to ${target ?? ""} ${JSON.stringify(headers ?? {})}`, async () => {
    const answer = await gatewayWith({ abort }).request({ target, headers });
    assert.equal(answer.status, status);
    assert.equal(answer.text, text);
  });
}

test("the answer has the given fields, and no variable can add one", async () => {
  const abort = { http_status: 200, headers: { h1: "v1", h2: 2, h3: "$uri" } };
  const { headers } = await gatewayWith({ abort }).request({ target: "/a%0d%0ah4:%20x" });
  assert.equal(headers.get("h1"), "v1");
  assert.equal(headers.get("h2"), "2");
  assert.equal(headers.get("h3"), "/a%0D%0Ah4: x");
});

test("a percentage is the share of requests that are chosen", async () => {
  const random = mock.method(Math, "random", () => 0.29);
  try {
    assert.equal((await gatewayWith({ abort: { http_status: 418, percentage: 30 } }).request()).status, 418);
    random.mock.mockImplementation(() => 0.3);
    assert.equal((await gatewayWith({ abort: { http_status: 418, percentage: 30 } }).request()).status, 200);
  } finally {
    random.mock.restore();
  }
});

/** What `request` answers when all timers are moved on by `ms`; undefined while it still waits. */
async function after<T>(ms: number, request: Promise<T>): Promise<T | undefined> {
  mock.timers.tick(ms);
  const turn = new Promise<undefined>((resolve) => {
    setImmediate(() => resolve(undefined));
  });
  return Promise.race([request, turn]);
}

test("a delay comes before the upstream and before an abort", async () => {
  mock.timers.enable({ apis: ["setTimeout"] });
  try {
    const delayed = gatewayWith({ delay: { duration: 1.5 } }).request();
    assert.equal(await after(1499, delayed), undefined);
    assert.equal((await after(1, delayed))?.text, "upstream");

    const both = gatewayWith({ delay: { duration: 2 }, abort: { http_status: 403 } }).request();
    assert.equal(await after(1999, both), undefined);
    assert.equal((await after(1, both))?.status, 403);
  } finally {
    mock.timers.reset();
  }
});

test("a client that leaves takes its timer along", async () => {
  const timers = () => process.getActiveResourcesInfo().filter((kind) => kind === "Timeout").length;
  const before = timers();
  const leaving = new AbortController();
  const answer = gatewayWith({ delay: { duration: 5 } }).request({}, leaving.signal);
  assert.equal(timers(), before + 1);
  leaving.abort();
  assert.equal(timers(), before);
  assert.equal((await answer).isAborted, true);
});

test("a delay whose condition does not hold, or without a share, is none", async () => {
  mock.timers.enable({ apis: ["setTimeout"] });
  try {
    const condition = gatewayWith({ delay: { duration: 1, vars } });
    assert.equal((await condition.request()).text, "upstream");
    assert.equal((await gatewayWith({ delay: { duration: 1, percentage: 0 } }).request()).text, "upstream");
    const waits = condition.request({ headers: { apikey: "api-key" } });
    assert.equal(await after(999, waits), undefined);
    assert.equal((await after(1, waits))?.text, "upstream");
  } finally {
    mock.timers.reset();
  }
});

test("what cannot be used is refused at write", () => {
  assert.equal(faultInjection.check!({ abort: { http_status: 403, vars } }), null);
  const bare = [["arg_name", "!=", "jack"]];
  const text = "rule should be wrapped inside brackets";
  assert.equal(faultInjection.check!({ abort: { http_status: 403, vars: bare } }), text);
  assert.equal(faultInjection.check!({ delay: { duration: 1, vars: bare } }), text);
  assert.match(faultInjection.check!({ abort: { http_status: 1000 } })!, /http_status/);
  assert.match(faultInjection.check!({ abort: { http_status: 403, headers: { "a b": "c" } } })!, /"a b"/);
});
