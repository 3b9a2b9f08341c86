/** Both discoveries of Consul against a server with its protocol, in health and in its ways to fail. */

import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import type { ConsulDiscoveryConfig } from "../../../config/discovery.ts";
import { FindingsKit, need } from "../findings-kit.ts";
import { ConsulKit, type ConsulMode } from "./consul-kit.ts";
import { ConsulKvSource } from "./consul-kv.ts";
import { ConsulSource } from "./consul.ts";
import { watchPauseMs } from "./server.ts";

const WEB = "consul:web";

interface Bench {
  consul: ConsulKit;
  server: string;
  findings: FindingsKit;
  config: ConsulDiscoveryConfig;
}

async function bench(t: TestContext): Promise<Bench> {
  const consul = new ConsulKit();
  const server = await consul.listen();
  t.after(() => consul.stop());
  const config: ConsulDiscoveryConfig = {
    servers: [server],
    token: "",
    timeouts: { connectMs: 60_000, readMs: 60_000 },
    waitMs: 60_000,
    intervalMs: 60_000,
    waitsForChanges: true,
    weight: 1,
    sort: "origin",
    skipped: [],
    prefix: "upstreams",
    dump: null,
    defaultNode: null,
  };
  return { consul, server, findings: new FindingsKit(), config };
}

function watchWeb(t: TestContext, { config, findings }: Bench): ConsulSource {
  const source = new ConsulSource(config, findings);
  t.after(() => source.close());
  source.watch([need("consul", "web")]);
  return source;
}

test("instances that pass their checks are nodes, and changes come without being asked for", async (t) => {
  const b = await bench(t);
  const { consul, findings } = b;
  consul.services.set("web", [
    { address: "10.0.0.1", port: 8080 },
    { address: "10.0.0.2", port: 8080, isPassing: false },
    { address: "10.0.0.3", port: 0 },
    { address: "", port: 9000 },
  ]);
  watchWeb(t, b);
  await findings.until(() => findings.places(WEB) === "10.0.0.1:8080, 10.0.0.3:80, 10.9.9.9:9000");
  consul.services.set("web", [{ address: "10.0.0.2", port: 8080 }]);
  consul.changed("health");
  await findings.until(() => findings.places(WEB) === "10.0.0.2:8080");
  consul.services.set("web", [{ address: "10.0.0.4", port: 8080 }]);
  consul.changed("catalog");
  await findings.until(() => findings.places(WEB) === "10.0.0.4:8080");
});

test("a port that is no number is no port", async (t) => {
  const b = await bench(t);
  b.consul.services.set("web", [
    { address: "10.0.0.1", port: "8080" },
    { address: "10.0.0.2", port: null },
    { address: "10.0.0.3", port: 8080 },
  ]);
  watchWeb(t, b);
  await b.findings.until(() => b.findings.answers.size === 1);
  assert.equal(b.findings.places(WEB), "10.0.0.1:NaN, 10.0.0.2:80, 10.0.0.3:8080");
});

test("a service whose name is a step of a path is never asked for", async (t) => {
  const { consul, findings, config } = await bench(t);
  const source = new ConsulSource(config, findings);
  t.after(() => source.close());
  source.watch(["..", ".", "web"].map((name) => need("consul", name)));
  await findings.until(() => findings.answers.size === 3);
  assert.deepEqual(
    [...new Set(consul.asked.filter((path) => path.includes("passing")))],
    ["/v1/health/service/web?passing=true"],
  );
});

test("a service that only a server knows that has still to answer is not told as empty", async (t) => {
  const b = await bench(t);
  const second = new ConsulKit();
  t.after(() => second.stop());
  b.config.servers = [b.server, await second.listen()];
  second.mode = "silent";
  b.config.timeouts = { connectMs: 60_000, readMs: 60_000 };
  b.consul.services.set("shop", [{ address: "10.0.0.1", port: 80 }]);
  const source = new ConsulSource(b.config, b.findings);
  t.after(() => source.close());
  source.watch(["web", "shop"].map((name) => need("consul", name)));
  await b.findings.until(() => b.findings.answers.size > 0);
  assert.deepEqual([...b.findings.answers.keys()], ["consul:shop"]);
});

test("the first changes are followed at once; of a Consul that never rests not every change, the fewer the more services", () => {
  const cases: [changes: number, questions: number, pauseMs: number][] = [
    [1, 1000, 100],
    [10, 1, 1000],
    [1000, 1, 1000],
    [1000, 100, 1000],
    [20, 1000, 2000],
    [1000, 1000, 5000],
    [1000, 100_000, 15_000],
  ];
  for (const [changes, questions, pauseMs] of cases) {
    assert.equal(watchPauseMs(changes, questions), pauseMs, `${changes} ${questions}`);
  }
});

test("only services in use are fetched, with the token, and `consul` and skipped ones never", async (t) => {
  const b = await bench(t);
  const { consul, findings, config } = b;
  consul.token = config.token = "secret";
  config.skipped = ["hidden"];
  for (const name of ["web", "other", "hidden", "consul"]) {
    consul.services.set(name, [{ address: "10.0.0.1", port: 80 }]);
  }
  const source = new ConsulSource(config, findings);
  t.after(() => source.close());
  source.watch(["web", "hidden", "consul"].map((name) => need("consul", name)));
  await findings.until(() => findings.answers.size === 3);
  assert.equal(findings.places("consul:hidden"), "");
  assert.equal(findings.places("consul:consul"), "");
  const services = consul.asked.filter((path) => path.includes("/health/service/"));
  assert.deepEqual([...new Set(services)], ["/v1/health/service/web?passing=true"]);
});

for (const mode of ["500", "garbage", "truncated"] satisfies ConsulMode[]) {
  test(`what a Consul says that answers with ${mode} is a failure and no answer; afterwards it is followed again`, async (t) => {
    const b = await bench(t);
    const { consul, findings } = b;
    consul.services.set("web", [{ address: "10.0.0.1", port: 8080 }]);
    const source = watchWeb(t, b);
    await findings.until(() => findings.places(WEB) === "10.0.0.1:8080");
    findings.answers.clear();
    consul.mode = mode;
    await source.refresh();
    assert.ok(findings.failures.length > 0);
    assert.equal(findings.places(WEB), undefined);
    consul.mode = "well";
    consul.services.set("web", [{ address: "10.0.0.2", port: 8080 }]);
    await source.refresh();
    assert.equal(findings.places(WEB), "10.0.0.2:8080");
  });
}

test("a Consul that does not answer in time is a failure", async (t) => {
  const b = await bench(t);
  b.config.timeouts = { connectMs: 2000, readMs: 50 };
  b.consul.mode = "silent";
  watchWeb(t, b);
  await b.findings.until(() => b.findings.failures.some((reason) => reason.includes("no answer in time")));
  assert.equal(b.findings.places(WEB), undefined);
});

test("an index that goes back is that of a Consul set up anew: it is followed from there", async (t) => {
  const b = await bench(t);
  const { consul, findings } = b;
  consul.services.set("web", [{ address: "10.0.0.1", port: 8080 }]);
  watchWeb(t, b);
  await consul.untilBlocked(2);
  consul.services.set("web", [{ address: "10.0.0.2", port: 8080 }]);
  consul.forgetIndexes();
  await findings.until(() => findings.places(WEB) === "10.0.0.2:8080");
  consul.services.set("web", [{ address: "10.0.0.3", port: 8080 }]);
  consul.changed("catalog");
  await findings.until(() => findings.places(WEB) === "10.0.0.3:8080");
});

test("without keepalive nothing is waited for: it is fetched again after the interval", async (t) => {
  const b = await bench(t);
  const { consul, findings, config } = b;
  config.waitsForChanges = false;
  config.intervalMs = 20;
  consul.services.set("web", [{ address: "10.0.0.1", port: 8080 }]);
  watchWeb(t, b);
  await findings.until(() => findings.places(WEB) === "10.0.0.1:8080");
  consul.services.set("web", [{ address: "10.0.0.2", port: 8080 }]);
  await findings.until(() => findings.places(WEB) === "10.0.0.2:8080");
  assert.deepEqual(
    consul.asked.filter((path) => !path.includes("/health/service/")),
    [],
  );
});

test("lists of servers are put together, and that of a dead one no longer counts beside others", async (t) => {
  const b = await bench(t);
  const second = new ConsulKit();
  t.after(() => second.stop());
  b.config.servers = [b.server, await second.listen()];
  b.config.sort = "combine_sort";
  b.consul.services.set("web", [{ address: "10.0.0.2", port: 80 }]);
  second.services.set("web", [
    { address: "10.0.0.2", port: 80 },
    { address: "10.0.0.1", port: 81 },
    { address: "10.0.0.1", port: 80 },
  ]);
  second.services.set("only-there", [{ address: "10.0.0.9", port: 80 }]);
  const source = new ConsulSource(b.config, b.findings);
  t.after(() => source.close());
  source.watch([need("consul", "web"), need("consul", "only-there")]);
  await b.findings.until(() => b.findings.places(WEB) === "10.0.0.1:80, 10.0.0.1:81, 10.0.0.2:80");
  second.stop();
  await source.refresh();
  await source.refresh();
  assert.equal(b.findings.places(WEB), "10.0.0.2:80");
  assert.equal(b.findings.places("consul:only-there"), "10.0.0.9:80");
});

test("keys are nodes by their short name and by APISIX's, with the weight of their value", async (t) => {
  const { consul, server, findings, config } = await bench(t);
  consul.keys.set("upstreams/web/10.0.0.1:8080", '{"weight": 3, "max_fails": 2}');
  consul.keys.set("upstreams/web/10.0.0.2:8080", "{}");
  consul.keys.set("upstreams/web/10.0.0.3:8080", '{"weight": 1, "check_status": "false"}');
  consul.keys.set("upstreams/web/10.0.0.4:8080", "");
  consul.keys.set("upstreams/web/10.0.0.5:8080", "not JSON");
  consul.keys.set("upstreams/web/nothing", "{}");
  consul.keys.set("upstreams/hidden/10.0.0.1:8080", "{}");
  config.skipped = ["upstreams/hidden/"];
  const long = `${server}/v1/kv/upstreams/web/`;
  const source = new ConsulKvSource(config, findings);
  t.after(() => source.close());
  source.watch(["web", long, "hidden"].map((name) => need("consul_kv", name)));
  await findings.until(() => findings.answers.size === 3);
  assert.equal(findings.places("consul_kv:web"), "10.0.0.1:8080 3/0, 10.0.0.2:8080");
  assert.equal(findings.places(`consul_kv:${long}`), "10.0.0.1:8080 3/0, 10.0.0.2:8080");
  assert.equal(findings.places("consul_kv:hidden"), "");
  consul.keys.delete("upstreams/web/10.0.0.2:8080");
  consul.changed("kv");
  await findings.until(() => findings.places("consul_kv:web") === "10.0.0.1:8080 3/0");
});

test("no key at all is an answer without nodes, as Consul says 404 of it", async (t) => {
  const { findings, config } = await bench(t);
  const source = new ConsulKvSource(config, findings);
  t.after(() => source.close());
  source.watch([need("consul_kv", "web")]);
  await findings.until(() => findings.answers.size === 1);
  assert.deepEqual([findings.places("consul_kv:web"), findings.failures], ["", []]);
});
