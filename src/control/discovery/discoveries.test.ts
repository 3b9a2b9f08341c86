/** Items of the configuration with services in them: filled with nodes, published again when these change, kept over restarts. */

import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { silent } from "../../lib/silent-log.ts";
import type { ConfigurationItem } from "../../shared/configuration-bytes.ts";
import { Discoveries, type SourcePlan } from "./discoveries.ts";
import type { Findings, Need, NodeSource } from "./node-source.ts";

class StandInSource implements NodeSource {
  readonly type = "consul";
  readonly findings: Findings;
  needs: readonly Need[] = [];

  constructor(findings: Findings) {
    this.findings = findings;
  }

  watch(needs: readonly Need[]): void {
    this.needs = needs;
  }

  async refresh(): Promise<void> {}

  close(): void {}
}

interface Bench {
  discoveries: Discoveries;
  source: StandInSource;
  published: ConfigurationItem[];
  hosts: string[][];
}

function open(
  folder: string,
  plan: Partial<SourcePlan> = {},
  isOwnListener = (host: string, port: number): boolean => host === "127.0.0.1" && port === 9090,
): Bench {
  let source: StandInSource | undefined;
  const whole: SourcePlan = {
    type: "consul",
    open: (findings) => (source = new StandInSource(findings)),
    dump: null,
    defaultNode: null,
    shownConfig: {},
    ...plan,
  };
  const config = { trustsEmpty: false };
  const discoveries = new Discoveries({
    config,
    plans: [whole],
    isOwnListener,
    dataFolder: folder,
    log: silent,
  });
  const published: ConfigurationItem[] = [];
  const hosts: string[][] = [];
  discoveries.connect({
    publish: (item) => published.push(item),
    onHosts: () => hosts.push([...discoveries.hosts()]),
  });
  return { discoveries, source: source!, published, hosts };
}

function temporaryFolder(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), "cardea-discovery-"));
  t.after(() => rmSync(folder, { recursive: true }));
  return folder;
}

function bench(t: TestContext, plan: Partial<SourcePlan> = {}): Bench {
  const opened = open(temporaryFolder(t), plan);
  t.after(() => opened.discoveries.close());
  return opened;
}

function upstream(service: string, more: object = {}): object {
  return { nodes: [], scheme: "http", service_name: service, discovery_type: "consul", ...more };
}

function item(kind: "upstream" | "route", id: string, value: object | null): ConfigurationItem {
  return { kind, id, value: value === null ? null : JSON.stringify(value) };
}

/** "host:port" of the nodes of an item's upstream. */
function places({ value }: ConfigurationItem): string {
  const parsed = JSON.parse(value!) as { upstream?: unknown };
  const { nodes } = (parsed.upstream ?? parsed) as { nodes: { host: string; port: number }[] };
  return nodes.map(({ host, port }) => `${host}:${port}`).join();
}

const turn = () => new Promise((resolve) => setImmediate(resolve));

test("the source is told which services are in use, wherever upstreams stand", async (t) => {
  const { discoveries, source } = bench(t);
  discoveries.take(item("upstream", "1", upstream("web")));
  discoveries.take(item("route", "1", { upstream: upstream("shop") }));
  const split = { rules: [{ weighted_upstreams: [{ upstream: upstream("canary") }] }] };
  discoveries.take(item("route", "2", { upstream: upstream("web"), plugins: { "traffic-split": split } }));
  discoveries.take(item("upstream", "2", { nodes: [{ host: "10.0.0.1", port: 80 }] }));
  discoveries.take(item("upstream", "3", upstream("names", { discovery_type: "dns" })));
  await turn();
  assert.deepEqual(source.needs.map(({ service }) => service).sort(), ["canary", "shop", "web"]);
  discoveries.take(item("route", "2", null));
  discoveries.take(item("route", "1", { upstream: upstream("shop2") }));
  await turn();
  assert.deepEqual(source.needs.map(({ service }) => service).sort(), ["shop2", "web"]);
});

test("items are filled, and published again when the nodes of their service change", (t) => {
  const { discoveries, source, published } = bench(t);
  assert.equal(places(discoveries.take(item("upstream", "1", upstream("web")))), "");
  discoveries.take(item("route", "1", { upstream: upstream("web", { scheme: "https" }) }));
  discoveries.take(item("route", "2", { upstream: upstream("shop") }));
  source.findings.answer("consul:web", [{ host: "10.0.0.1", port: 0, weight: 1 }]);
  assert.deepEqual(
    published.map((each) => [each.kind, places(each)]),
    [
      ["upstream", "10.0.0.1:80"],
      ["route", "10.0.0.1:443"],
    ],
  );
  assert.equal(places(discoveries.filled(item("upstream", "1", upstream("web")))), "10.0.0.1:80");
  published.length = 0;
  source.findings.answer("consul:web", [{ host: "10.0.0.1", port: 0, weight: 1 }]);
  assert.deepEqual(published, []);
});

test("a registry opens no way to the APIs of the node", (t) => {
  const { discoveries, source } = bench(t);
  discoveries.take(item("upstream", "1", upstream("web")));
  const ports = [9090, 9091];
  source.findings.answer(
    "consul:web",
    ports.map((port) => ({ host: "127.0.0.1", port, weight: 1 })),
  );
  assert.equal(places(discoveries.filled(item("upstream", "1", upstream("web")))), "127.0.0.1:9091");
});

test("items without services pass as they are", (t) => {
  const { discoveries } = bench(t);
  const plain = item("upstream", "1", { nodes: [{ host: "10.0.0.1", port: 80 }] });
  assert.equal(discoveries.take(plain), plain);
});

test("names among the nodes are told, so that they are resolved", async (t) => {
  const { discoveries, source, hosts } = bench(t);
  discoveries.take(item("upstream", "1", upstream("web")));
  source.findings.answer("consul:web", [{ host: "10.0.0.1", port: 80, weight: 1 }]);
  await turn();
  assert.deepEqual(hosts, []);
  source.findings.answer("consul:web", [{ host: "web.test", port: 80, weight: 1 }]);
  await turn();
  source.findings.answer("consul:web", [{ host: "web.test", port: 81, weight: 1 }]);
  await turn();
  discoveries.take(item("upstream", "1", null));
  await turn();
  assert.deepEqual(hosts, [["web.test"], []]);
});

test("with many services the work of a change is that of one service", async (t) => {
  let looks = 0;
  const folder = temporaryFolder(t);
  const { discoveries, source } = open(folder, {}, () => {
    looks++;
    return false;
  });
  t.after(() => discoveries.close());
  const names = Array.from({ length: 1000 }, (_, i) => `s${i}`);
  for (const name of names) discoveries.take(item("upstream", name, upstream(name)));
  await turn();
  looks = 0;
  for (const name of names)
    source.findings.answer(`consul:${name}`, [{ host: "10.0.0.1", port: 80, weight: 1 }]);
  await turn();
  // Each once for its upstream, and all once for the names among them.
  assert.equal(looks, 2 * names.length);
});

test("a node that starts while its registry is away has the nodes of its last run", (t) => {
  const folder = temporaryFolder(t);
  const first = open(folder);
  first.discoveries.take(item("upstream", "1", upstream("web")));
  first.source.findings.answer("consul:web", [{ host: "10.0.0.1", port: 80, weight: 1 }]);
  first.discoveries.close();
  // One that ends before it has its configuration forgets nothing.
  open(folder).discoveries.close();
  const second = open(folder);
  assert.equal(places(second.discoveries.take(item("upstream", "1", upstream("web")))), "10.0.0.1:80");
  second.source.findings.fail("consul", "away");
  assert.equal(places(second.discoveries.filled(item("upstream", "1", upstream("web")))), "10.0.0.1:80");
  second.discoveries.close();
});

test("a service that leaves the configuration and comes back has its nodes at once", (t) => {
  const { discoveries, source } = bench(t);
  discoveries.take(item("upstream", "1", upstream("web")));
  source.findings.answer("consul:web", [{ host: "10.0.0.1", port: 80, weight: 1 }]);
  discoveries.take(item("upstream", "1", null));
  assert.equal(places(discoveries.take(item("upstream", "1", upstream("web")))), "10.0.0.1:80");
});

test("the default node serves where no other is known, and no longer", (t) => {
  const { discoveries, source } = bench(t, {
    defaultNode: { host: "10.9.9.9", port: 90, weight: 1, metadata: {} },
  });
  assert.equal(places(discoveries.take(item("upstream", "1", upstream("web")))), "10.9.9.9:90");
  source.findings.answer("consul:web", [{ host: "10.0.0.1", port: 80, weight: 1 }]);
  assert.equal(places(discoveries.filled(item("upstream", "1", upstream("web")))), "10.0.0.1:80");
});

test("the dump is written in APISIX's form and read at a start, unless it is too old", (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const folder = temporaryFolder(t);
  const path = join(folder, "dump.json");
  const dump = { path, isLoaded: true, expireMs: 60_000 };
  const { discoveries, source } = bench(t, { dump });
  discoveries.take(item("upstream", "1", upstream("web")));
  source.findings.answer("consul:web", [{ host: "10.0.0.1", port: 80, weight: 1 }]);
  t.mock.timers.tick(100);
  const written = JSON.parse(readFileSync(path, "utf8")) as { last_update: number; expire: number };
  assert.deepEqual(written, {
    services: { web: [{ host: "10.0.0.1", port: 80, weight: 1 }] },
    last_update: written.last_update,
    expire: 60,
  });
  const young = bench(t, { dump }).discoveries;
  assert.equal(places(young.take(item("upstream", "1", upstream("web")))), "10.0.0.1:80");
  writeFileSync(path, JSON.stringify({ ...written, last_update: written.last_update - 100 }));
  const old = bench(t, { dump }).discoveries;
  assert.equal(places(old.take(item("upstream", "1", upstream("web")))), "");
  writeFileSync(path, JSON.stringify({ ...written, last_update: "yesterday" }));
  const dateless = bench(t, { dump }).discoveries;
  assert.equal(places(dateless.take(item("upstream", "1", upstream("web")))), "");
});

test("the node is not ready until every service was asked for once, whatever came of it", (t) => {
  const { discoveries, source } = bench(t);
  discoveries.take(item("upstream", "1", upstream("web")));
  discoveries.take(item("upstream", "2", upstream("names", { discovery_type: "not-set-up" })));
  assert.match(discoveries.objection()!, /consul:web has not been looked up yet/);
  source.findings.fail("consul", "away");
  assert.equal(discoveries.objection(), null);
  // Services that come later do not take the node out.
  discoveries.take(item("upstream", "3", upstream("shop")));
  assert.equal(discoveries.objection(), null);
});

test("metrics tell nodes, age, failures and what is held", (t) => {
  const { discoveries, source } = bench(t);
  discoveries.take(item("upstream", "1", upstream("web")));
  source.findings.answer("consul:web", [{ host: "10.0.0.1", port: 80, weight: 1 }]);
  source.findings.answer("consul:web", []);
  source.findings.fail("consul", "away");
  const now = discoveries.services("consul")[0].answeredAt! + 3000;
  const values = discoveries.families(now).map(({ name, samples }) => [name, samples[0].value]);
  assert.deepEqual(values, [
    ["discovery_nodes", 1],
    ["discovery_age_seconds", 3],
    ["discovery_held", 1],
    ["discovery_failures_total", 1],
    ["discovery_empty_answers_total", 1],
  ]);
});
