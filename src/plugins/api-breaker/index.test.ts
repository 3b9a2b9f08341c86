import assert from "node:assert/strict";
import { test } from "node:test";
import { checkPlugins } from "../../model/plugin-check.ts";
import { testGateway, type TestGateway } from "../../testing/index.ts";
import { PluginCatalog } from "../catalog.ts";

/** A gateway whose clock stands until it is moved, and whose upstream answers the status that the query asks for. */
function breaker(config: object): { gateway: TestGateway; pass(seconds: number): void; arrived(): number } {
  let nowMs = 1_700_000_000_000;
  let arrived = 0;
  const gateway = testGateway({
    routes: [
      {
        uri: "/*",
        plugins: { "api-breaker": { break_response_code: 599, ...config } },
        upstream: { nodes: { "a:80": 1 } },
      },
    ],
    now: () => nowMs,
    upstream: ({ target }) => {
      arrived++;
      return { status: Number(new URLSearchParams(target.split("?")[1]).get("code") ?? 200) };
    },
  });
  return { gateway, pass: (seconds) => (nowMs += seconds * 1000), arrived: () => arrived };
}

async function statuses(gateway: TestGateway, codes: readonly number[], host = "h"): Promise<number[]> {
  const got: number[] = [];
  for (const code of codes) got.push((await gateway.request({ target: `/p?code=${code}`, host })).status);
  return got;
}

test("so many failures open it, and the upstream hears nothing more", async () => {
  const { gateway, arrived } = breaker({ unhealthy: { failures: 2 } });
  assert.deepEqual(await statuses(gateway, [500, 500, 200, 500]), [500, 500, 599, 599]);
  assert.equal(arrived(), 2);
});

test("it opens for 2, then 4, then 8 seconds, up to the longest time", async () => {
  const { gateway, pass } = breaker({ unhealthy: { failures: 1 }, max_breaker_sec: 5 });
  for (const openSeconds of [2, 4, 5, 5]) {
    assert.deepEqual(await statuses(gateway, [500, 200]), [500, 599]);
    pass(openSeconds);
    assert.deepEqual(await statuses(gateway, [200]), [599], `still open after ${openSeconds} s`);
    pass(1);
  }
});

test("successes make all failures forgotten; a failure between them makes them count anew", async () => {
  const config = { unhealthy: { failures: 3 }, healthy: { successes: 2 } };
  const { gateway } = breaker(config);
  assert.deepEqual(
    await statuses(gateway, [500, 500, 200, 200, 500, 500, 200]),
    [500, 500, 200, 200, 500, 500, 200],
  );
  const other = breaker(config).gateway;
  assert.deepEqual(await statuses(other, [500, 200, 500, 200, 500, 200]), [500, 200, 500, 200, 500, 599]);
});

test("only the statuses that are named count", async () => {
  const { gateway } = breaker({
    unhealthy: { failures: 1, http_statuses: [503] },
    healthy: { http_statuses: [204] },
  });
  assert.deepEqual(await statuses(gateway, [500, 404, 503, 200]), [500, 404, 503, 599]);
});

test("each host and path has its own breaker", async () => {
  const { gateway } = breaker({ unhealthy: { failures: 1 } });
  assert.deepEqual(await statuses(gateway, [500, 200], "a"), [500, 599]);
  assert.deepEqual(await statuses(gateway, [200], "b"), [200]);
  assert.equal((await gateway.request({ target: "/other", host: "a" })).status, 200);
  const long = `/${"x".repeat(4000)}`;
  await gateway.request({ target: `${long}?code=500`, host: "a" });
  assert.equal((await gateway.request({ target: long, host: "a" })).status, 599);
});

test("body and header fields of the answer can be chosen", async () => {
  const { gateway } = breaker({
    break_response_code: 502,
    break_response_body: '{"later": true}',
    break_response_headers: [
      { key: "Content-Type", value: "application/json" },
      { key: "X-Who", value: "<$remote_addr>" },
    ],
    unhealthy: { failures: 1 },
  });
  await statuses(gateway, [500]);
  const answer = await gateway.request({ target: "/p", host: "h" });
  assert.equal(answer.status, 502);
  assert.equal(answer.text, '{"later": true}');
  assert.equal(answer.headers.get("content-type"), "application/json");
  assert.equal(answer.headers.get("x-who"), "<127.0.0.1>");
});

for (const [config, reason] of [
  [{}, 'property "break_response_code" is required'],
  [{ break_response_code: 199 }, "expected 199 to be at least 200"],
  [{ break_response_code: 502, unhealthy: { http_statuses: [400] } }, "expected 400 to be at least 500"],
  [{ break_response_code: 502, healthy: { http_statuses: [500] } }, "expected 500 to be at most 499"],
  [{ break_response_code: 502, max_breaker_sec: 2 }, "expected 2 to be at least 3"],
  [{ break_response_code: 502, break_response_headers: [{ key: "a b", value: "c" }] }, "invalid header name"],
] as const) {
  test(`refused at write time: ${reason}`, () => {
    const error = checkPlugins({ "api-breaker": config }, "config", new PluginCatalog(null));
    assert.ok(error?.message.includes(reason), error?.message);
  });
}
