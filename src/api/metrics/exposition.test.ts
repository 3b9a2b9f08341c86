import assert from "node:assert/strict";
import { test } from "node:test";
import { ACTIVE, REQUESTS } from "../../shared/gauge-lanes.ts";
import { createSharedMemory, openSharedMemory, type SharedMemory } from "../../shared/shared-memory.ts";
import type { MetricsFacts } from "../../control/fact-families.ts";
import { metricsFormat, metricsText } from "./exposition.ts";

const FACTS: MetricsFacts = { prefix: "apisix_", hostname: 'h"1', version: "0.1.0" };

function open(workers = 2): { control: SharedMemory; workers: SharedMemory[] } {
  const config = { limitCounters: 100, dictionaryBytes: 65_536, metricBytesPerWorker: 262_144 };
  const buffers = createSharedMemory(config, workers, 100);
  return {
    control: openSharedMemory(buffers, -1, 1),
    workers: Array.from({ length: workers }, (_, slot) => openSharedMemory(buffers, slot, 1)),
  };
}

/** Sample lines by everything before the value; fails on a line that is none. */
function parse(page: string): Map<string, number> {
  const samples = new Map<string, number>();
  for (const line of page.split("\n")) {
    if (line === "" || line.startsWith("#")) continue;
    const match = /^([a-zA-Z_:][\w:]*(?:\{(?:\w+="(?:[^"\\]|\\["\\n])*",?)+\})?) (\S+)$/.exec(line);
    assert.ok(match !== null, `not a sample: ${line}`);
    assert.ok(!samples.has(match[1]), `twice: ${match[1]}`);
    samples.set(match[1], Number(match[2].replace("Inf", "Infinity")));
  }
  return samples;
}

test("the page adds up what the workers counted", async () => {
  const { control, workers } = open();
  for (const { metrics, gauges } of workers) {
    const status = metrics.counter("http_status", ["code", "route"], "HTTP status codes");
    status.inc(status.series(["200", "a"]), 2_000_000_000);
    const latency = metrics.histogram("http_latency", ["type"], [1, 5], "latency");
    for (const value of [0.5, 3, 30]) latency.observe(latency.series(["request"]), value);
    gauges.add(ACTIVE, 3);
    gauges.add(REQUESTS, 11);
  }
  const page = await metricsText(control, FACTS);
  const samples = parse(page);
  assert.equal(samples.get('apisix_http_status{code="200",route="a"}'), 4_000_000_000);
  assert.equal(samples.get('apisix_http_latency_bucket{type="request",le="1"}'), 2);
  assert.equal(samples.get('apisix_http_latency_bucket{type="request",le="5"}'), 4);
  assert.equal(samples.get('apisix_http_latency_bucket{type="request",le="+Inf"}'), 6);
  assert.equal(samples.get('apisix_http_latency_count{type="request"}'), 6);
  assert.equal(samples.get('apisix_http_latency_sum{type="request"}'), 67);
  assert.equal(samples.get('apisix_nginx_http_current_connections{state="active"}'), 6);
  assert.equal(samples.get("apisix_http_requests_total"), 22);
  assert.equal(samples.get('apisix_node_info{hostname="h\\"1",version="0.1.0"}'), 1);
  assert.equal(samples.get("apisix_nginx_metric_errors_total"), 0);
  assert.equal(samples.get('apisix_shared_dict_capacity_bytes{name="dictionary"}'), 65_536);
  assert.match(page, /# HELP apisix_http_status HTTP status codes\n# TYPE apisix_http_status counter\n/);
});

test("labels of a tenant stand on every sample", async () => {
  const { control, workers } = open(1);
  const [{ metrics }] = workers;
  const status = metrics.counter("http_status", ["code"]);
  status.inc(status.series(["200"]));
  const bare = metrics.counter("bare", []);
  bare.inc(bare.series([]));
  const latency = metrics.histogram("http_latency", ["type"], [1, 5], "latency");
  latency.observe(latency.series(["request"]), 3);
  const plain = metrics.histogram("plain_latency", [], [1], "latency");
  plain.observe(plain.series([]), 3);
  const labels = { tenant: 'a"b' };
  const samples = parse(await metricsText(control, { ...FACTS, labels }));
  for (const name of samples.keys()) assert.ok(name.includes('{tenant="a\\"b"'), name);
  assert.equal(samples.get('apisix_http_status{tenant="a\\"b",code="200"}'), 1);
  assert.equal(samples.get('apisix_bare{tenant="a\\"b"}'), 1);
  assert.equal(samples.get('apisix_http_latency_bucket{tenant="a\\"b",type="request",le="5"}'), 1);
  assert.equal(samples.get('apisix_plain_latency_bucket{tenant="a\\"b",le="+Inf"}'), 1);
  assert.equal(samples.get('apisix_plain_latency_sum{tenant="a\\"b"}'), 3);
});

test("facts of control are shown, and families of the same name are not shown twice", async () => {
  const { control, workers } = open();
  const forged = workers[0].metrics.gauge("node_info", ["x"]);
  forged.set(forged.series(["1"]), 5);
  const families = [
    {
      name: "upstream_status",
      type: "gauge" as const,
      help: "line\nbreak",
      samples: [{ labels: { name: "u\n1", ip: "::1", port: "80" }, value: Number.NaN }],
    },
  ];
  const page = await metricsText(control, { ...FACTS, families });
  assert.match(page, /^apisix_upstream_status\{name="u\\n1",ip="::1",port="80"\} NaN$/m);
  assert.match(page, /^# HELP apisix_upstream_status line\\nbreak$/m);
  assert.equal(page.match(/^# TYPE apisix_node_info/gm)?.length, 1);
  assert.ok(!page.includes('x="1"'));
});

test("OpenMetrics ends with EOF and keeps the names of counters without _total", async () => {
  const { control, workers } = open();
  const { metrics } = workers[0];
  const status = metrics.counter("http_status", []);
  status.inc(status.series([]));
  const hits = metrics.counter("hits_total", []);
  hits.inc(hits.series([]));
  const latency = metrics.histogram("latency", [], [1, 2.5]);
  latency.observe(latency.series([]), 2);
  const page = await metricsText(control, FACTS, "openmetrics");
  assert.match(page, /# TYPE apisix_http_status unknown\n.*\napisix_http_status 1\n/);
  assert.match(page, /# TYPE apisix_hits counter\n.*\napisix_hits_total 1\n/);
  assert.match(page, /latency_bucket\{le="1\.0"\} 0\n.*\{le="2\.5"\} 1\n.*\{le="\+Inf"\} 1\n/);
  assert.ok(page.endsWith("\n# EOF\n"));
  parse(page);
});

test("the format follows the Accept header", () => {
  const table: [string | undefined, string][] = [
    [undefined, "prometheus"],
    ["*/*", "prometheus"],
    ["text/plain;version=0.0.4", "prometheus"],
    [
      "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
      "openmetrics",
    ],
    ["application/openmetrics-text;q=0.2, text/plain;q=0.9", "prometheus"],
    ["application/openmetrics-text;q=0", "prometheus"],
  ];
  for (const [accept, format] of table) assert.equal(metricsFormat(accept), format, accept);
});

test("a page of many chunks is whole, and the event loop has its turns meanwhile", async () => {
  const config = { limitCounters: 100, dictionaryBytes: 65_536, metricBytesPerWorker: 16_777_216 };
  const buffers = createSharedMemory(config, 1);
  const { metrics } = openSharedMemory(buffers, 0, 1);
  const family = metrics.counter("requests", ["route", "node"]);
  for (let i = 0; i < 20_000; i++) family.inc(family.series([`route-${i}`, `10.0.0.${i % 20}`]), i);
  let turns = 0;
  const timer = setInterval(() => turns++, 0);
  const page = await metricsText(openSharedMemory(buffers, -1, 1), FACTS);
  clearInterval(timer);
  const samples = parse(page);
  for (const i of [0, 1, 9999, 19_999]) {
    assert.equal(samples.get(`apisix_requests{route="route-${i}",node="10.0.0.${i % 20}"}`), i);
  }
  assert.ok(turns > 0);
});

test("pages that are rendered at the same time are each whole, also when series are released meanwhile", async () => {
  const config = { limitCounters: 100, dictionaryBytes: 65_536, metricBytesPerWorker: 16_777_216 };
  const buffers = createSharedMemory(config, 1);
  const { metrics } = openSharedMemory(buffers, 0, 1);
  const family = metrics.counter("requests", ["route"]);
  for (let i = 0; i < 20_000; i++) family.inc(family.series([`route-${i}`]), 7);
  const control = openSharedMemory(buffers, -1, 1);
  const first = metricsText(control, FACTS);
  await new Promise((resolve) => {
    setImmediate(resolve);
  });
  family.release(family.series(["route-5"]));
  const pages = await Promise.all([first, metricsText(control, FACTS), metricsText(control, FACTS)]);
  for (const page of pages) {
    const samples = parse(page);
    let sum = 0;
    for (let i = 0; i < 20_000; i++)
      if (i !== 5) sum += samples.get(`apisix_requests{route="route-${i}"}`) ?? 0;
    assert.equal(sum, 19_999 * 7);
  }
});
