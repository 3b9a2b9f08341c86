/** Discovery in DNS against a real server over UDP: kinds of record, their order, and failures. */

import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import type { DnsDiscoveryConfig } from "../../config/discovery.ts";
import { DnsServer } from "../resolver/dns-server-kit.ts";
import { DnsSource, type DnsTimes } from "./dns.ts";
import { FindingsKit, need } from "./findings-kit.ts";

interface Bench {
  server: DnsServer;
  source: DnsSource;
  findings: FindingsKit;
}

const ORDER: DnsDiscoveryConfig["order"] = ["last", "SRV", "A", "AAAA", "CNAME"];

async function bench(
  t: TestContext,
  config: Partial<DnsDiscoveryConfig> = {},
  times: Partial<DnsTimes> = {},
): Promise<Bench> {
  const server = new DnsServer();
  const address = await server.listen();
  const findings = new FindingsKit();
  const source = new DnsSource(
    { servers: [address], resolvConf: null, order: ORDER, ...config },
    { timeoutMs: 20_000, validMs: null, ipv6: true, ...times },
    findings,
  );
  t.after(() => {
    source.close();
    server.close();
  });
  return { server, source, findings };
}

test("all addresses of a name are nodes, with the port behind the name", async (t) => {
  const { server, source, findings } = await bench(t);
  server.zones.set("web.test", { addresses: ["10.0.0.2", "10.0.0.1"] });
  source.watch([need("dns", "web.test"), need("dns", "Web.test:8080")]);
  await findings.until(() => findings.answers.size === 2);
  assert.equal(findings.places("dns:web.test"), "10.0.0.1:0, 10.0.0.2:0");
  assert.equal(findings.places("dns:Web.test:8080"), "10.0.0.1:8080, 10.0.0.2:8080");
});

test("SRV records bring port, weight and priority; targets with several addresses share their weight", async (t) => {
  const { server, source, findings } = await bench(t);
  server.zones.set("web.test", {
    addresses: ["10.0.0.9"],
    services: [
      { target: "a.test", port: 8001, weight: 10, priority: 1 },
      { target: "b.test", port: 8002, weight: 30, priority: 1 },
      { target: "c.test", port: 8003, weight: 0, priority: 2 },
    ],
  });
  server.zones.set("a.test", { addresses: ["10.0.0.1", "10.0.0.2"] });
  server.zones.set("b.test", { addresses: ["10.0.0.3"] });
  server.zones.set("c.test", { addresses: ["fd00::1"] });
  source.watch([need("dns", "web.test")]);
  await findings.until(() => findings.answers.size === 1);
  assert.equal(
    findings.places("dns:web.test"),
    "10.0.0.1:8001 10/-1, 10.0.0.2:8001 10/-1, 10.0.0.3:8002 60/-1, fd00::1:8003 2/-2",
  );
});

test("a service that its SRV record calls unavailable has no nodes, whatever addresses the name has", async (t) => {
  const { server, source, findings } = await bench(t);
  const services = [{ target: ".", port: 0, weight: 0, priority: 0 }];
  server.zones.set("web.test", { addresses: ["10.0.0.9"], services });
  source.watch([need("dns", "web.test")]);
  await findings.until(() => findings.answers.size === 1 || findings.failures.length === 1);
  assert.deepEqual([findings.places("dns:web.test"), findings.failures], ["", []]);
});

test("the first kind of record in the order counts, and IPv6 only where it is enabled", async (t) => {
  const zone = { addresses: ["10.0.0.1", "fd00::1"] };
  const cases: [order: DnsDiscoveryConfig["order"], ipv6: boolean, expected: string][] = [
    [["A", "AAAA"], true, "10.0.0.1:0"],
    [["AAAA", "A"], true, "fd00::1:0"],
    [["AAAA", "A"], false, "10.0.0.1:0"],
    [["SRV", "CNAME", "AAAA"], true, "fd00::1:0"],
  ];
  for (const [order, ipv6, expected] of cases) {
    const { server, source, findings } = await bench(t, { order }, { ipv6 });
    server.zones.set("web.test", zone);
    source.watch([need("dns", "web.test")]);
    await findings.until(() => findings.answers.size === 1);
    assert.equal(findings.places("dns:web.test"), expected);
  }
});

test("a name that had SRV records does not fall to its addresses because the server is busy", async (t) => {
  const { server, source, findings } = await bench(t);
  const services = [{ target: "a.test", port: 8001, weight: 1, priority: 0 }];
  server.zones.set("web.test", { addresses: ["10.0.0.9"], services });
  server.zones.set("a.test", { addresses: ["10.0.0.1"] });
  source.watch([need("dns", "web.test")]);
  await findings.until(() => findings.answers.size === 1);
  findings.answers.clear();
  server.zones.set("web.test", { addresses: ["10.0.0.9"], services, failing: ["SRV"] });
  await source.refresh();
  assert.equal(findings.places("dns:web.test"), undefined);
  assert.match(findings.failures.join(), /web\.test: ESERVFAIL/);
  // The server says that there are none any more: now the addresses count.
  server.zones.set("web.test", { addresses: ["10.0.0.9"] });
  await source.refresh();
  assert.equal(findings.places("dns:web.test"), "10.0.0.9:0");
});

test("a name that never had SRV records has its addresses though the server fails for SRV", async (t) => {
  const { server, source, findings } = await bench(t);
  server.zones.set("web.test", { addresses: ["10.0.0.1"], failing: ["SRV"] });
  source.watch([need("dns", "web.test")]);
  await findings.until(() => findings.answers.size === 1);
  assert.equal(findings.places("dns:web.test"), "10.0.0.1:0");
});

test("no such name is an answer without nodes, a server that fails is none", async (t) => {
  const { server, source, findings } = await bench(t);
  server.zones.set("busy.test", { code: 2 });
  source.watch([need("dns", "absent.test"), need("dns", "busy.test")]);
  await findings.until(() => findings.answers.size === 1 && findings.failures.length === 1);
  assert.equal(findings.places("dns:absent.test"), "");
  assert.equal(findings.places("dns:busy.test"), undefined);
});

test("servers and search list come from the file that resolv_conf names", async (t) => {
  const server = new DnsServer();
  const address = await server.listen();
  t.after(() => server.close());
  const findings = new FindingsKit();
  const folder = mkdtempSync(join(tmpdir(), "cardea-dns-"));
  t.after(() => rmSync(folder, { recursive: true }));
  const file = join(folder, "resolv.conf");
  writeFileSync(file, `nameserver not-an-address\nnameserver ${address}\nsearch test\n`);
  server.zones.set("web.test", { addresses: ["10.0.0.1"] });
  const config: DnsDiscoveryConfig = { servers: [], resolvConf: file, order: ORDER };
  const source = new DnsSource(config, { timeoutMs: 20_000, validMs: null, ipv6: true }, findings);
  t.after(() => source.close());
  source.watch([need("dns", "web")]);
  await findings.until(() => findings.answers.size === 1);
  assert.equal(findings.places("dns:web"), "10.0.0.1:0");
});
