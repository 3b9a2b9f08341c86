import assert from "node:assert/strict";
import { test } from "node:test";
import { openSharedMemory } from "../shared/shared-memory.ts";
import { testGateway, type TestGatewayOptions } from "../testing/index.ts";
import { MAX_HOSTS } from "./fallback.ts";

const CONFIG = "cardea: { fallback: { nodes: ['legacy:80'] } }";

function gatewayWith(options: TestGatewayOptions = {}) {
  return testGateway({
    config: CONFIG,
    routes: [{ uri: "/new", host: "moved.example", upstream: { nodes: { "new:80": 1 } } }],
    upstream: ({ node, headers, method, target, body }) => ({
      body: [node, headers.get("host"), method, target, body.toString()].join(" "),
    }),
    ...options,
  });
}

/** Requests that were counted for a host; the metrics of the gateway, looked at as a new worker of its lane finds them. */
function countOf(gateway: ReturnType<typeof gatewayWith>, host: string): number {
  const lane = openSharedMemory(gateway.shared, 0, 2).metrics;
  const family = lane.counter(
    "fallback_requests_total",
    ["host"],
    "Requests that no route knew and the fallback upstream got",
  );
  return family.value(family.series([host]));
}

test("what no route knows goes to the fallback as it is, what one knows does not", async () => {
  const gateway = gatewayWith();
  const moved = await gateway.request({ host: "moved.example", target: "/new" });
  assert.equal(moved.text, "new:80 moved.example GET /new ");
  const rest = await gateway.request({ host: "moved.example", target: "/old?a=1" });
  assert.equal(rest.text, "legacy:80 moved.example GET /old?a=1 ");
  const other = await gateway.request({
    host: "other.example",
    method: "POST",
    target: "/new",
    body: "content",
  });
  assert.equal(other.text, "legacy:80 other.example POST /new content");
});

test("a route that comes takes its requests from the fallback", async () => {
  const gateway = gatewayWith();
  gateway.put("route", "2", { uri: "/*", host: "other.example", upstream: { nodes: { "new:80": 1 } } });
  assert.match((await gateway.request({ host: "other.example" })).text, /^new:80/);
  gateway.put("route", "2", null);
  assert.match((await gateway.request({ host: "other.example" })).text, /^legacy:80/);
});

test("global rules act on what goes to the fallback, too", async () => {
  const gateway = gatewayWith({
    globalRules: [
      {
        plugins: {
          "ip-restriction": { blacklist: ["10.0.0.1"] },
          "response-rewrite": { headers: { "X-Seen": "1" } },
        },
      },
    ],
  });
  const answer = await gateway.request({ host: "other.example" });
  assert.equal(answer.status, 200);
  assert.equal(answer.headers.get("x-seen"), "1");
  assert.equal((await gateway.request({ host: "other.example", address: "10.0.0.1" })).status, 403);
});

test("requests are counted per host, and hosts beyond the bound together", async () => {
  const gateway = gatewayWith();
  for (let i = 0; i < MAX_HOSTS + 5; i++) await gateway.request({ host: `h${i}.example` });
  await gateway.request({ host: "h0.example" });
  assert.equal(countOf(gateway, "h0.example"), 2);
  assert.equal(countOf(gateway, "h1.example"), 1);
  assert.equal(countOf(gateway, "(other)"), 5);
  assert.equal(countOf(gateway, "moved.example"), 0);
});
