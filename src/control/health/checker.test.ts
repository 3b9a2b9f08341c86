/** The checker against real targets: what is probed, how often, and what outlives edits and restarts. */

import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, request, type RequestListener, type Server, type ServerResponse } from "node:http";
import { createServer as createHttps } from "node:https";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import type { TLSSocket } from "node:tls";
import { test, type TestContext } from "node:test";
import { silent } from "../../lib/silent-log.ts";
import type { Log } from "../../lib/log.ts";
import { CERTIFICATE, PRIVATE_KEY } from "../../model/certificate-kit.ts";
import { HealthRegistry } from "../../shared/health-registry.ts";
import { TCP_FAILURE } from "../../shared/health-state.ts";
import { healthKey, HealthTable } from "../../shared/health-table.ts";
import { HealthChecker } from "./checker.ts";
import { healthReport, upstreamStatus } from "./report.ts";
import { SavedStates } from "./saved-states.ts";
import { freePort } from "../../../test/ports/free-port.ts";

/** Ends when something of that level is logged. */
function logUntil(level: "error"): { log: Log; logged: Promise<string> } {
  const { promise, resolve } = Promise.withResolvers<string>();
  return { log: { ...silent, [level]: (message: string) => resolve(message) }, logged: promise };
}

interface Bench {
  shared: SharedArrayBuffer;
  table: HealthTable;
  checker: HealthChecker;
  put(nodes: object[], active?: object, rest?: object): void;
}

function bench(
  t: TestContext,
  shared = new SharedArrayBuffer(HealthTable.bytes()),
  file?: string,
  time: { now?: () => number; random?: () => number } = {},
): Bench {
  const table = new HealthTable(shared);
  const registry = new HealthRegistry(table);
  const saved = file === undefined ? null : new SavedStates(file, table, silent);
  const checker = new HealthChecker({ registry, saved, log: silent, ...time });
  t.after(() => checker.close());
  const put: Bench["put"] = (nodes, active = {}, rest = {}) => {
    const checks = { active: { timeout: 30, ...active } };
    const upstream = {
      id: "1",
      type: "roundrobin",
      scheme: "http",
      pass_host: "pass",
      nodes,
      checks,
      ...rest,
    };
    checker.take({ kind: "upstream", id: "1", value: JSON.stringify(upstream) });
  };
  return { shared, table, checker, put };
}

/** A server that counts; `status` may be changed. */
class Origin {
  status = 200;
  requests = 0;
  hosts: (string | undefined)[] = [];
  readonly #server: Server;
  #wake: () => void = () => {};

  constructor(t: TestContext) {
    const answer: RequestListener = (request, response) => {
      this.requests++;
      this.hosts.push(request.headers.host);
      response.writeHead(this.status).end();
      this.#wake();
    };
    this.#server = createServer(answer);
    t.after(() => this.#server.close());
  }

  async start(): Promise<this> {
    this.#server.listen(await freePort(), "127.0.0.1");
    await once(this.#server, "listening");
    return this;
  }

  get node(): { host: string; port: number; weight: number; priority: number } {
    return { host: "127.0.0.1", port: (this.#server.address() as AddressInfo).port, weight: 1, priority: 0 };
  }

  async asked(times: number): Promise<void> {
    while (this.requests < times) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }
}

async function turned({ table, checker }: Bench, isUp: boolean): Promise<void> {
  for (;;) {
    const seen = table.changes;
    const [target] = checker.targetsOf("/upstreams/1");
    if (table.isUp(target.slot) === isUp) return;
    await table.whenChanged(seen, 10_000);
  }
}

test("a node that answers badly goes down and comes back, without any request of a client", async (t) => {
  const b = bench(t);
  const origin = await new Origin(t).start();
  b.put([origin.node], { healthy: { successes: 1 }, unhealthy: { http_failures: 1 } });
  b.checker.start();
  await origin.asked(1);
  origin.status = 500;
  await turned(b, false);
  const [down] = healthReport(b.checker, b.table, "/apisix").nodesOf("/upstreams/1");
  assert.deepEqual(down, {
    ip: "127.0.0.1",
    port: origin.node.port,
    hostname: "127.0.0.1",
    status: "unhealthy",
    counter: { success: 0, http_failure: 1, tcp_failure: 0, timeout_failure: 0 },
  });
  const labels = { name: "/apisix/upstreams/1", ip: "127.0.0.1", port: String(origin.node.port) };
  assert.deepEqual(upstreamStatus(b.checker, b.table, "/apisix").samples, [{ labels, value: 0 }]);
  origin.status = 302;
  await turned(b, true);
  assert.deepEqual(upstreamStatus(b.checker, b.table, "/apisix").samples, [{ labels, value: 1 }]);
});

test("an edit of the nodes keeps the state of those that stay, and frees those that go", async (t) => {
  const b = bench(t);
  const [stays, goes] = [await new Origin(t).start(), await new Origin(t).start()];
  stays.status = 500;
  b.put([stays.node, goes.node], { unhealthy: { http_failures: 1 } });
  b.checker.start();
  await turned(b, false);
  const slots = Array.from(b.checker.targetsOf("/upstreams/1"), ({ slot }) => slot);
  b.put([stays.node], { unhealthy: { http_failures: 1 } });
  assert.equal(b.table.isUp(slots[0]), false);
  assert.equal(b.table.generation(slots[1]), 0);
  // Other checks, the same node: its state stays, too.
  b.put([stays.node], { unhealthy: { http_failures: 2 } });
  assert.equal(b.table.isUp(slots[0]), false);
  b.checker.take({ kind: "upstream", id: "1", value: null });
  assert.equal(b.table.generation(slots[0]), 0);
  assert.deepEqual([...b.checker.keys()], []);
});

test("the next control goes on with the states, and frees what the configuration lost meanwhile", async (t) => {
  const first = bench(t);
  const node = { host: "127.0.0.1", port: 9, weight: 1, priority: 0 };
  first.put([node, { ...node, port: 10 }]);
  const [kept, lost] = [...first.checker.targetsOf("/upstreams/1")];
  first.table.report(kept.slot, kept.generation, TCP_FAILURE, 1);
  first.checker.close();
  const next = bench(t, first.shared);
  next.put([node]);
  next.checker.start();
  const [target] = next.checker.targetsOf("/upstreams/1");
  assert.deepEqual([target.slot, target.generation], [kept.slot, kept.generation]);
  assert.equal(next.table.isUp(target.slot), false);
  assert.equal(next.table.generation(lost.slot), 0);
});

test("a node process that starts within a minute knows who was down; later it does not", (t) => {
  const folder = mkdtempSync(join(tmpdir(), "cardea-health-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const file = join(folder, "health.json");
  const node = { host: "127.0.0.1", port: 9, weight: 1, priority: 0 };
  const first = bench(t, undefined, file);
  first.put([node]);
  const [target] = first.checker.targetsOf("/upstreams/1");
  first.table.report(target.slot, target.generation, TCP_FAILURE, 1);
  first.checker.close();

  const second = bench(t, undefined, file);
  second.put([node]);
  assert.equal(second.table.isUp([...second.checker.targetsOf("/upstreams/1")][0].slot), false);

  const later = new SavedStates(file, second.table, silent, () => Date.now() + 61_000);
  assert.equal(later.take(healthKey("/upstreams/1", "127.0.0.1", 9, "127.0.0.1")), undefined);
});

test("names are probed at each of their addresses, as soon as they have some", async (t) => {
  const b = bench(t);
  const origin = await new Origin(t).start();
  b.put([{ ...origin.node, host: "a.test" }]);
  b.checker.start();
  assert.deepEqual([...b.checker.targetsOf("/upstreams/1")], []);
  const tell = (addresses: string[]): void =>
    b.checker.take({ kind: "address", id: "a.test", value: JSON.stringify({ host: "a.test", addresses }) });
  tell(["127.0.0.1", "127.0.0.2"]);
  assert.deepEqual(
    Array.from(b.checker.targetsOf("/upstreams/1"), ({ address }) => address),
    ["127.0.0.1", "127.0.0.2"],
  );
  await origin.asked(1);
  assert.deepEqual(origin.hosts, ["a.test"]);
  tell(["127.0.0.2"]);
  assert.deepEqual(
    Array.from(b.checker.targetsOf("/upstreams/1"), ({ address }) => address),
    ["127.0.0.2"],
  );
});

const HOSTS: readonly (readonly [object, object, string])[] = [
  [{ host: "check.test" }, { pass_host: "rewrite", upstream_host: "up.test" }, "check.test"],
  [{}, { pass_host: "rewrite", upstream_host: "up.test" }, "up.test"],
  [{}, {}, "127.0.0.1"],
];

for (const [active, rest, expected] of HOSTS) {
  test(`the host of a probe is ${expected} with ${JSON.stringify({ ...active, ...rest })}`, async (t) => {
    const b = bench(t);
    const origin = await new Origin(t).start();
    b.put([origin.node], active, rest);
    b.checker.start();
    await origin.asked(1);
    assert.deepEqual(origin.hosts, [expected]);
  });
}

test("nodes that are probed at one port are one target", (t) => {
  const b = bench(t);
  const node = { host: "127.0.0.1", port: 9, weight: 1, priority: 0 };
  b.put([node, { ...node, port: 10 }], { port: 11 });
  assert.deepEqual(
    Array.from(b.checker.targetsOf("/upstreams/1"), ({ port }) => port),
    [11],
  );
});

test("no more probes of an upstream run at a time than it says, and all have their turn", async (t) => {
  // All of them are due at once.
  const b = bench(t, undefined, undefined, { random: () => 0 });
  const held: ServerResponse[] = [];
  const asked = new Set<string>();
  const server = createServer((probe, response) => {
    server.emit("asked");
    if (probe.url === "/fence") {
      response.end();
      return;
    }
    asked.add(probe.headers.host!);
    held.push(response);
  });
  server.listen(await freePort(), "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    server.close();
    server.closeAllConnections();
  });
  const { port } = server.address() as AddressInfo;
  // One target each: the host tells them apart.
  const nodes = Array.from({ length: 6 }, (_, i) => ({ host: `n${i}.test`, port, weight: 1, priority: i }));
  b.put(nodes, { concurrency: 2, healthy: { interval: 600 } });
  for (const { host } of nodes) {
    b.checker.take({ kind: "address", id: host, value: JSON.stringify({ host, addresses: ["127.0.0.1"] }) });
  }
  b.checker.start();
  for (let left = nodes.length; left > 0; left--) {
    while (held.length < Math.min(2, left)) await once(server, "asked");
    // Whoever was on the way when this began has come by its end.
    for (let i = 0; i < 3; i++) await once(request({ port, path: "/fence", agent: false }).end(), "response");
    assert.equal(held.length, Math.min(2, left), `${left} are left`);
    held.shift()!.end();
  }
  assert.equal(asked.size, nodes.length);
});

test("a node that left its upstream is probed no more", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  let nowMs = 0;
  const b = bench(t, undefined, undefined, { now: () => nowMs, random: () => 0.5 });
  const [stays, goes] = [await new Origin(t).start(), await new Origin(t).start()];
  /** Time passes until the node that stays was asked so often. */
  const until = async (times: number): Promise<void> => {
    while (stays.requests < times) {
      nowMs += 1000;
      t.mock.timers.tick(1000);
      await new Promise(setImmediate);
    }
  };
  b.put([stays.node, goes.node], { healthy: { interval: 1 } });
  b.checker.start();
  await until(3);
  assert.ok(goes.requests > 0);
  b.put([stays.node], { healthy: { interval: 1 } });
  const { requests } = goes;
  await until(stays.requests + 5);
  // One may have been on its way.
  assert.ok(goes.requests <= requests + 1, `${goes.requests - requests} probes more`);
});

test("a node that requests found down is probed at the interval of unhealthy nodes", async (t) => {
  const b = bench(t);
  const origin = await new Origin(t).start();
  b.put([origin.node], { healthy: { interval: 3600, successes: 2 }, unhealthy: { interval: 1 } });
  b.checker.start();
  await origin.asked(1);
  const [{ slot, generation }] = b.checker.targetsOf("/upstreams/1");
  b.table.report(slot, generation, TCP_FAILURE, 1);
  await turned(b, true);
  assert.ok(origin.requests >= 2);
});

test("a client key that is none yet ends no thread, and says nothing about the node", async (t) => {
  const { log, logged } = logUntil("error");
  const table = new HealthTable(new SharedArrayBuffer(HealthTable.bytes()));
  const registry = new HealthRegistry(table);
  const checker = new HealthChecker({ registry, saved: null, log, random: () => 0 });
  t.after(() => checker.close());
  const upstream = {
    id: "1",
    type: "roundrobin",
    scheme: "https",
    pass_host: "pass",
    nodes: [{ host: "127.0.0.1", port: 1, weight: 1, priority: 0 }],
    tls: { client_cert: CERTIFICATE, client_key: "$env://NOT_SET_ANYWHERE" },
    checks: { active: { type: "https", timeout: 1, unhealthy: { tcp_failures: 1 } } },
  };
  checker.take({ kind: "upstream", id: "1", value: JSON.stringify(upstream) });
  checker.start();
  assert.equal(await logged, "a node cannot be probed");
  const [target] = checker.targetsOf("/upstreams/1");
  assert.equal(table.isUp(target.slot), true);
});

test("probes over TLS show the certificate of an ssl by id, and trust whom the static file names", async (t) => {
  const file = join(mkdtempSync(join(tmpdir(), "cardea-trust-")), "ca.pem");
  t.after(() => rmSync(dirname(file), { recursive: true }));
  writeFileSync(file, CERTIFICATE);
  const shown: unknown[] = [];
  const server = createHttps(
    { cert: CERTIFICATE, key: PRIVATE_KEY, requestCert: true, rejectUnauthorized: false },
    (request, response) => {
      shown.push((request.socket as TLSSocket).getPeerCertificate().subject?.CN);
      response.end();
    },
  );
  server.listen(await freePort(), "127.0.0.1");
  await once(server, "listening");
  t.after(() => server.close());
  const table = new HealthTable(new SharedArrayBuffer(HealthTable.bytes()));
  const authorities = [file];
  const registry = new HealthRegistry(table);
  const { log, logged } = logUntil("error");
  const checker = new HealthChecker({ registry, saved: null, log, random: () => 0, authorities });
  t.after(() => checker.close());
  const upstream = {
    id: "1",
    type: "roundrobin",
    scheme: "https",
    pass_host: "rewrite",
    upstream_host: "a.com",
    nodes: [{ host: "127.0.0.1", port: (server.address() as AddressInfo).port, weight: 1, priority: 0 }],
    tls: { client_cert_id: "own" },
    checks: {
      active: {
        type: "https",
        timeout: 60,
        unhealthy: { tcp_failures: 1 },
        healthy: { interval: 1, successes: 1 },
      },
    },
  };
  checker.take({ kind: "upstream", id: "1", value: JSON.stringify(upstream) });
  checker.start();
  assert.equal(await logged, "a node cannot be probed");
  const pairs = [{ cert: CERTIFICATE, key: PRIVATE_KEY }];
  const ssl = { id: "own", type: "client", created: 1, enabled: true, names: [], listen: [], pairs };
  checker.take({ kind: "ssl", id: "own", value: JSON.stringify(ssl) });
  while (shown.length === 0) await once(server, "request");
  assert.equal(shown[0], "a.com");
  const [target] = checker.targetsOf("/upstreams/1");
  assert.equal(table.isUp(target.slot), true);
});
