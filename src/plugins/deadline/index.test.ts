import assert from "node:assert/strict";
import { mock, test } from "node:test";
import { metricsText } from "../../api/metrics/exposition.ts";
import { CONTROL_SLOT } from "../../shared/lanes.ts";
import { openSharedMemory } from "../../shared/shared-memory.ts";
import { testGateway, type TestGateway, type UpstreamFunction } from "../../testing/index.ts";

function gatewayWith(config: object, upstream: UpstreamFunction = () => ({ body: "ok" })): TestGateway {
  return testGateway({
    routes: [
      {
        uri: "/*",
        plugins: { deadline: { budget_ms: 1000, ...config } },
        upstream: { nodes: { "a:80": 1 } },
      },
    ],
    upstream,
  });
}

/** Lines of the metrics that count requests whose time was over. */
async function exceeded(gateway: TestGateway): Promise<string[]> {
  const shared = openSharedMemory(gateway.shared, CONTROL_SLOT, 1);
  const text = await metricsText(shared, { prefix: "", hostname: "test", version: "0" });
  return text.split("\n").filter((line) => /^deadline_exceeded_total\{.* [1-9]/.test(line));
}

const never = new Promise<never>(() => {});

test("an upstream that is late is cut off, and the client gets 504", async () => {
  const arrived = Promise.withResolvers<void>();
  mock.timers.enable({ apis: ["setTimeout"] });
  try {
    const gateway = gatewayWith({}, () => {
      arrived.resolve();
      return never;
    });
    const answer = gateway.request();
    await arrived.promise;
    mock.timers.tick(1000);
    const { status, text } = await answer;
    assert.equal(status, 504);
    assert.deepEqual(JSON.parse(text), { error_msg: "deadline exceeded" });
  } finally {
    mock.timers.reset();
  }
});

test("status and text of the refusal can be chosen", async () => {
  mock.timers.enable({ apis: ["setTimeout"] });
  try {
    const arrived = Promise.withResolvers<void>();
    const gateway = gatewayWith({ rejected_code: 503, rejected_msg: "too late" }, () => {
      arrived.resolve();
      return never;
    });
    const answer = gateway.request();
    await arrived.promise;
    mock.timers.tick(1000);
    assert.equal((await answer).status, 503);
    assert.deepEqual(JSON.parse((await answer).text), { error_msg: "too late" });
  } finally {
    mock.timers.reset();
  }
});

test("the client says how long it waits, up to the route's budget", async () => {
  for (const [asked, atMost, atLeast] of [
    ["400", 400, 1],
    ["99999999", 1000, 401],
    ["soon", 1000, 401],
  ] as const) {
    let told = "";
    const gateway = gatewayWith({ request_header: "X-Wait", upstream_header: "X-Left" }, ({ headers }) => {
      told = headers.get("x-left")!;
      return {};
    });
    assert.equal((await gateway.request({ headers: { "X-Wait": asked } })).status, 200);
    assert.ok(Number(told) <= atMost && Number(told) >= atLeast, `${asked}: ${told}`);
  }
});

test("what is told to the upstream leaves the reserve out; nothing left is refused at once", async () => {
  let told = "";
  const upstream: UpstreamFunction = ({ headers }) => {
    told = headers.get("x-left")!;
    return {};
  };
  await gatewayWith({ upstream_header: "X-Left", reserve_ms: 900 }, upstream).request();
  assert.ok(Number(told) <= 100 && Number(told) > 0, told);
  told = "not asked";
  const gateway = gatewayWith({ request_header: "X-Wait" }, upstream);
  assert.equal((await gateway.request({ headers: { "X-Wait": "0" } })).status, 504);
  assert.equal((await gatewayWith({ reserve_ms: 1000 }, upstream).request()).status, 504);
  assert.equal(told, "not asked");
});

test("a request that is answered in time leaves no timer behind", async () => {
  mock.timers.enable({ apis: ["setTimeout"] });
  try {
    const gateway = gatewayWith({});
    assert.equal((await gateway.request()).text, "ok");
    mock.timers.tick(2000);
    assert.equal((await gateway.request()).text, "ok");
    mock.timers.reset();
    assert.deepEqual(await exceeded(gateway), []);
  } finally {
    mock.timers.reset();
  }
});

test("a consumer's own deadline in the place of the route's counts nobody as late who was not", async () => {
  mock.timers.enable({ apis: ["setTimeout"] });
  try {
    const gateway = testGateway({
      consumers: [{ username: "jack", plugins: { "key-auth": { key: "k" }, deadline: { budget_ms: 500 } } }],
      routes: [
        {
          uri: "/*",
          plugins: { "key-auth": {}, deadline: { budget_ms: 1000 } },
          upstream: { nodes: { "a:80": 1 } },
        },
      ],
    });
    assert.equal((await gateway.request({ headers: { apikey: "k" } })).status, 200);
    mock.timers.tick(2000);
    mock.timers.reset();
    assert.deepEqual(await exceeded(gateway), []);
  } finally {
    mock.timers.reset();
  }
});
