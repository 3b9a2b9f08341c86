import assert from "node:assert/strict";
import { test } from "node:test";
import { metricsText } from "../../api/metrics/exposition.ts";
import { CONTROL_SLOT } from "../../shared/lanes.ts";
import { openSharedMemory } from "../../shared/shared-memory.ts";
import { testGateway, type TestGateway, type TestGatewayOptions } from "../../testing/index.ts";

const upstream = { nodes: { "10.0.0.7:80": 1 } };

/** The lines of the page that begin with one of the names. */
async function page(gateway: TestGateway, ...names: string[]): Promise<string[]> {
  const shared = openSharedMemory(gateway.shared, CONTROL_SLOT, 1);
  const text = await metricsText(shared, { prefix: "apisix_", hostname: "test", version: "0" });
  return text.split("\n").filter((line) => names.some((name) => line.startsWith(`apisix_${name}{`)));
}

function gatewayWith(options: TestGatewayOptions): TestGateway {
  return testGateway({
    routes: [
      {
        id: "r1",
        name: "shop",
        uri: "/shop/*",
        hosts: ["*.a.com"],
        service_id: "s1",
        plugins: { prometheus: {} },
        upstream,
      },
    ],
    services: [{ id: "s1", name: "store" }],
    ...options,
  });
}

test("a request is counted under its status, route, uri, host, service and node", async () => {
  const gateway = gatewayWith({});
  await gateway.request({ target: "/shop/1", host: "x.a.com" });
  await gateway.request({ target: "/shop/2", host: "x.a.com" });
  assert.deepEqual(await page(gateway, "http_status"), [
    'apisix_http_status{code="200",route="r1",matched_uri="/shop/*",matched_host="*.a.com",service="s1",consumer="",node="10.0.0.7",' +
      'request_type="traditional_http",request_llm_model="",llm_model="",response_source="upstream"} 2',
  ]);
});

test("latency has a histogram for the whole, the upstream and the gateway, in milliseconds", async () => {
  const gateway = gatewayWith({});
  await gateway.request({ target: "/shop/1", host: "x.a.com" });
  const counts = (await page(gateway, "http_latency_count")).map((line) =>
    line.replace(/{type="(\w+)".*}/, " $1"),
  );
  assert.deepEqual(
    new Set(counts),
    new Set(["request", "upstream", "apisix"].map((type) => `apisix_http_latency_count ${type} 1`)),
  );
  const buckets = await page(gateway, "http_latency_bucket");
  assert.equal(buckets.filter((line) => line.includes('type="request"')).length, 16);
});

test("bytes of both directions are counted", async () => {
  const gateway = gatewayWith({ upstream: () => ({ body: "x".repeat(100) }) });
  await gateway.request({ target: "/shop/1", host: "x.a.com", method: "POST", body: "y".repeat(50) });
  const bytes = Object.fromEntries(
    (await page(gateway, "bandwidth")).map((line) => [
      line.match(/type="(\w+)"/)![1],
      Number(line.split(" ").at(-1)),
    ]),
  );
  assert.deepEqual(bytes, { ingress: 50, egress: 100 });
});

test("names can stand in for ids", async () => {
  const gateway = gatewayWith({
    routes: [
      {
        id: "r1",
        name: "shop",
        uri: "/*",
        service_id: "s1",
        plugins: { prometheus: { prefer_name: true } },
        upstream,
      },
    ],
  });
  await gateway.request();
  assert.match((await page(gateway, "http_status"))[0], /route="shop".*service="store"/);
});

test("labels that metadata disables are empty", async () => {
  const gateway = gatewayWith({
    pluginMetadata: { prometheus: { disabled_labels: { http_status: ["node", "matched_uri"] } } },
  });
  await gateway.request({ target: "/shop/1", host: "x.a.com" });
  assert.match((await page(gateway, "http_status"))[0], /matched_uri="",matched_host="\*\.a\.com".*node=""/);
  assert.match((await page(gateway, "bandwidth"))[0], /node="10\.0\.0\.7"/);
});

test("as a global rule it counts requests that no route knows, and steps back where the route has it", async () => {
  const gateway = gatewayWith({ globalRules: [{ id: "g1", plugins: { prometheus: {} } }] });
  await gateway.request({ target: "/nowhere" });
  await gateway.request({ target: "/shop/1", host: "x.a.com" });
  const lines = await page(gateway, "http_status");
  assert.equal(lines.length, 2);
  assert.match(
    lines.find((line) => line.includes('code="404"'))!,
    /route="",.*response_source="apisix"} 1$/,
  );
  assert.match(
    lines.find((line) => line.includes('route="r1"'))!,
    / 1$/,
  );
});

test("the series of a deleted route go, those of others stay", async () => {
  const gateway = gatewayWith({
    routes: [
      { id: "r1", uri: "/1", plugins: { prometheus: {} }, upstream },
      { id: "r2", uri: "/2", plugins: { prometheus: {} }, upstream },
    ],
  });
  await gateway.request({ target: "/1" });
  await gateway.request({ target: "/2" });
  gateway.put("route", "r1", null);
  const lines = await page(gateway, "http_status", "bandwidth", "http_latency_count");
  assert.equal(lines.length, 6);
  assert.equal(lines.filter((line) => line.includes('route="r1"')).length, 0);
  gateway.put("route", "r1", { uri: "/1", plugins: { prometheus: {} }, upstream });
  await gateway.request({ target: "/1" });
  assert.equal((await page(gateway, "http_status")).filter((line) => line.includes('route="r1"')).length, 1);
});

test("routes that share a series for want of a label keep it until the last of them is deleted", async () => {
  const gateway = gatewayWith({
    pluginMetadata: {
      prometheus: { disabled_labels: { bandwidth: ["route"], http_status: ["route", "matched_uri"] } },
    },
    routes: [
      { id: "r1", uri: "/1", plugins: { prometheus: {} }, upstream },
      { id: "r2", uri: "/2", plugins: { prometheus: {} }, upstream },
    ],
  });
  await gateway.request({ target: "/1" });
  await gateway.request({ target: "/2" });
  gateway.put("route", "r1", null);
  await gateway.request({ target: "/2" });
  assert.deepEqual(
    (await page(gateway, "http_status")).map((line) => line.split(" ").at(-1)),
    ["3"],
  );
  gateway.put("route", "r2", null);
  assert.deepEqual(await page(gateway, "http_status"), []);
});
