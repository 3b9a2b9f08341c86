/** The resolver against a real DNS server over UDP and TCP; time is virtual. */

import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test, type TestContext } from "node:test";
import type { ResolverConfig } from "../../config/static-config.ts";
import type { PublishedAddress } from "../../model/published.ts";
import { DnsServer } from "./dns-server-kit.ts";
import { HostsFile } from "./hosts-file.ts";
import { candidates, NO_SEARCH, parseSearchRules } from "./resolv-conf.ts";
import { Resolver, type ResolverParts } from "./resolver.ts";

interface Bench {
  server: DnsServer;
  resolver: Resolver;
  hostsPath: string;
  /** Changes so far, as "host addresses". */
  changes: string[];
  nextChange: () => Promise<string>;
  nextFailure: () => Promise<string>;
}

async function bench(
  t: TestContext,
  config: Partial<ResolverConfig> = {},
  parts: ResolverParts = {},
): Promise<Bench> {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const server = new DnsServer();
  const address = await server.listen();
  const folder = mkdtempSync(join(tmpdir(), "cardea-hosts-"));
  const hostsPath = join(folder, "hosts");
  const failures = new Waiting<string>();
  const changed = new Waiting<string>();
  const resolver = new Resolver(
    { servers: [address], validMs: null, timeoutMs: 20_000, ipv6: true, ...config },
    {
      hosts: new HostsFile(hostsPath),
      search: NO_SEARCH,
      hasIpv6: () => true,
      random: () => 0.5,
      now: () => 0,
      onFailure: (host, reason) => failures.push(`${host} ${reason}`),
      ...parts,
    },
  );
  const changes: string[] = [];
  resolver.onChange(({ host, addresses }: PublishedAddress) => {
    changes.push(`${host} ${addresses.join()}`);
    changed.push(changes.at(-1)!);
  });
  after(() => {
    resolver.close();
    server.close();
    rmSync(folder, { recursive: true });
  });
  return {
    server,
    resolver,
    hostsPath,
    changes,
    nextChange: () => changed.next(),
    nextFailure: () => failures.next(),
  };
}

/** A queue that can be waited on. */
class Waiting<T> {
  readonly #items: T[] = [];
  #resolve: (() => void) | null = null;

  push(item: T): void {
    this.#items.push(item);
    this.#resolve?.();
  }

  async next(): Promise<T> {
    if (this.#items.length === 0) await new Promise<void>((resolve) => (this.#resolve = resolve));
    return this.#items.shift()!;
  }
}

test("a watched name is published with all of its addresses, and again only when they change", async (t) => {
  const { server, resolver, nextChange, changes } = await bench(t);
  server.zones.set("a.test", { addresses: ["10.0.0.2", "10.0.0.1", "fd00::1"], ttl: 100 });
  resolver.watch(new Set(["a.test", "10.1.1.1"]));
  assert.equal(await nextChange(), "a.test 10.0.0.1,10.0.0.2,fd00::1");

  server.zones.set("a.test", { addresses: ["fd00::1", "10.0.0.1", "10.0.0.2"], ttl: 100 });
  await resolverIdle();
  t.mock.timers.tick(85_000);
  await server.untilAsked(4);
  server.zones.set("a.test", { addresses: ["10.0.0.3"], ttl: 100 });
  assert.equal(await tickUntil(t, 85_000, nextChange()), "a.test 10.0.0.3");
  assert.equal(changes.length, 2);
  assert.deepEqual(resolver.addresses(), [{ host: "a.test", addresses: ["10.0.0.3"] }]);
});

/** Time passes in steps until it happens: an answer may still be on its way when a step is made. */
async function tickUntil<T>(t: TestContext, stepMs: number, event: Promise<T>): Promise<T> {
  const state = { hasHappened: false };
  void event.then(() => (state.hasHappened = true));
  while (!state.hasHappened) {
    t.mock.timers.tick(stepMs);
    await new Promise(setImmediate);
  }
  return event;
}

/** A chance for something that must not happen. */
async function resolverIdle(): Promise<void> {
  for (let i = 0; i < 20; i++) await new Promise(setImmediate);
}

test("a name is asked for before its TTL ends, not sooner, and at most once a second", async (t) => {
  const { server, resolver, nextChange } = await bench(t);
  server.zones.set("a.test", { addresses: ["10.0.0.1"], ttl: 100 });
  server.zones.set("zero.test", { addresses: ["10.0.0.1"], ttl: 0 });
  resolver.watch(new Set(["a.test"]));
  await nextChange();
  await resolverIdle();
  t.mock.timers.tick(79_000);
  await resolverIdle();
  assert.equal(server.questions.length, 2);
  t.mock.timers.tick(11_000);
  await server.untilAsked(4);

  resolver.watch(new Set(["zero.test"]));
  await nextChange();
  await resolverIdle();
  const asked = server.questions.length;
  t.mock.timers.tick(999);
  await resolverIdle();
  assert.equal(server.questions.length, asked);
  t.mock.timers.tick(1);
  await server.untilAsked(asked + 2);
});

test("validMs overrides the TTL", async (t) => {
  const { server, resolver, nextChange } = await bench(t, { validMs: 10_000 });
  server.zones.set("a.test", { addresses: ["10.0.0.1"], ttl: 3_000 });
  resolver.watch(new Set(["a.test"]));
  await nextChange();
  await resolverIdle();
  t.mock.timers.tick(9_000);
  await server.untilAsked(4);
});

test("while the server fails the last addresses stay, and it is asked again with growing pauses", async (t) => {
  const { server, resolver, nextChange, nextFailure, changes } = await bench(t);
  server.zones.set("a.test", { addresses: ["10.0.0.1"], ttl: 1 });
  resolver.watch(new Set(["a.test"]));
  await nextChange();
  server.zones.set("a.test", { code: 2 });
  await resolverIdle();
  t.mock.timers.tick(1_000);
  assert.equal(await nextFailure(), "a.test ESERVFAIL");
  await resolverIdle();
  const asked = server.questions.length;
  t.mock.timers.tick(1_000);
  assert.equal(await nextFailure(), "a.test ESERVFAIL");
  await resolverIdle();
  t.mock.timers.tick(1_999);
  await resolverIdle();
  assert.equal(server.questions.length, asked * 2 - 2);
  assert.deepEqual(resolver.addresses(), [{ host: "a.test", addresses: ["10.0.0.1"] }]);
  server.zones.set("a.test", { addresses: ["10.0.0.2"] });
  t.mock.timers.tick(1);
  assert.equal(await nextChange(), "a.test 10.0.0.2");
  assert.equal(changes.length, 2);
});

test("a name that never existed is published as empty; one that had addresses only when it is gone twice", async (t) => {
  const { server, resolver, nextChange, nextFailure, changes } = await bench(t);
  server.zones.set("a.test", { addresses: ["10.0.0.1"], ttl: 1 });
  resolver.watch(new Set(["a.test", "never.test"]));
  assert.deepEqual([await nextChange(), await nextChange()].sort(), ["a.test 10.0.0.1", "never.test "]);
  server.zones.delete("a.test");
  await resolverIdle();
  t.mock.timers.tick(1_000);
  await server.untilAsked(6);
  await resolverIdle();
  assert.equal(changes.length, 2);
  assert.equal(await tickUntil(t, 1_000, nextChange()), "a.test ");
  assert.match(await nextFailure(), /^never\.test there is no such name/);
  // Told once, though it was asked for meanwhile.
  assert.match(await nextFailure(), /^a\.test there is no such name/);
});

test("a truncated answer is asked for again over TCP", async (t) => {
  const { server, resolver, nextChange } = await bench(t);
  const addresses = Array.from({ length: 60 }, (_, i) => `10.0.0.${i}`);
  server.zones.set("big.test", { addresses, truncates: true });
  resolver.watch(new Set(["big.test"]));
  assert.equal((await nextChange()).split(",").length, 60);
  assert.ok(server.questions.includes("tcp A big.test"));
});

test("one family that is not answered does not hide the other, nor what was known of itself", async (t) => {
  const { server, resolver, nextChange, changes } = await bench(t, { timeoutMs: 1000 });
  server.zones.set("a.test", { addresses: ["10.0.0.1", "fd00::1"], ttl: 1 });
  server.zones.set("b.test", { addresses: ["10.0.0.1", "fd00::1"], ttl: 1, silent: ["AAAA"] });
  resolver.watch(new Set(["a.test"]));
  await nextChange();
  server.zones.set("a.test", { addresses: ["10.0.0.2"], ttl: 1, silent: ["AAAA"] });
  await resolverIdle();
  t.mock.timers.tick(1_000);
  assert.equal(await nextChange(), "a.test 10.0.0.2,fd00::1");
  resolver.watch(new Set(["b.test"]));
  assert.equal(await nextChange(), "b.test 10.0.0.1");
  assert.equal(changes.length, 3);
});

for (const [ipv6, hasIpv6, both, only] of [
  [true, true, "10.0.0.1,fd00::1", "fd00::2"],
  [true, false, "10.0.0.1", "fd00::2"],
  [false, true, "10.0.0.1", ""],
] as const) {
  test(`ipv6 ${ipv6} on a machine ${hasIpv6 ? "with" : "without"} IPv6: "${both}" and "${only}"`, async (t) => {
    const { server, resolver, hostsPath } = await bench(t, { ipv6 }, { hasIpv6: () => hasIpv6 });
    writeFileSync(hostsPath, "10.0.0.1 file.test\nfd00::1 file.test\n");
    server.zones.set("both.test", { addresses: ["10.0.0.1", "fd00::1"] });
    server.zones.set("only.test", { addresses: ["fd00::2"] });
    assert.equal((await resolver.resolve("both.test")).join(), both);
    assert.equal((await resolver.resolve("file.test")).join(), both);
    assert.equal((await resolver.resolve("only.test")).join(), only);
  });
}

test("/etc/hosts comes before DNS and is followed when it changes; localhost is the loopback", async (t) => {
  const { server, resolver, hostsPath, nextChange } = await bench(t);
  writeFileSync(
    hostsPath,
    "# comment\n10.9.9.9\tA.test alias.test # more\nnonsense b.test\n10.9.9.8 a.test\n",
  );
  resolver.watch(new Set(["a.test"]));
  assert.equal(await nextChange(), "a.test 10.9.9.9,10.9.9.8");
  assert.deepEqual(await resolver.resolve("ALIAS.test"), ["10.9.9.9"]);
  assert.deepEqual(await resolver.resolve("localhost"), ["127.0.0.1"]);
  assert.deepEqual(await resolver.resolve("127.0.0.9"), ["127.0.0.9"]);
  assert.equal(server.questions.length, 0);
  writeFileSync(hostsPath, "10.9.9.123 a.test\n");
  await resolverIdle();
  t.mock.timers.tick(10_000);
  assert.equal(await nextChange(), "a.test 10.9.9.123");
});

test("a name that is not watched any more is not asked for any more", async (t) => {
  const { server, resolver, nextChange } = await bench(t);
  server.zones.set("a.test", { addresses: ["10.0.0.1"], ttl: 1 });
  resolver.watch(new Set(["a.test"]));
  await nextChange();
  await resolverIdle();
  resolver.watch(new Set());
  t.mock.timers.tick(60_000);
  await resolverIdle();
  assert.equal(server.questions.length, 2);
  assert.deepEqual(resolver.addresses(), []);
});

test("resolve remembers answers, joins questions, and throws while servers fail", async (t) => {
  const { server, resolver } = await bench(t);
  server.zones.set("a.test", { addresses: ["10.0.0.1"] });
  server.zones.set("bad.test", { code: 2 });
  const [one, two] = await Promise.all([resolver.resolve("a.test"), resolver.resolve("a.test")]);
  assert.deepEqual([one, two, await resolver.resolve("a.test")], [["10.0.0.1"], ["10.0.0.1"], ["10.0.0.1"]]);
  assert.equal(server.questions.length, 2);
  assert.deepEqual(await resolver.resolve("none.test"), []);
  await assert.rejects(resolver.resolve("bad.test"), /bad\.test: ESERVFAIL/);
});

test("hundreds of names are all resolved, a few at a time", async (t) => {
  const { server, resolver, nextChange } = await bench(t);
  const names = Array.from({ length: 300 }, (_, i) => `n${i}.test`);
  for (const name of names) server.zones.set(name, { addresses: ["10.0.0.1"] });
  resolver.watch(new Set(names));
  for (let i = 0; i < names.length; i++) await nextChange();
  assert.equal(resolver.addresses().length, 300);
});

test("the search list is tried as ndots says, and a final dot ends a name", async (t) => {
  const search = parseSearchRules(
    "nameserver 10.0.0.1\nsearch ns.svc.test svc.test.\noptions timeout:1 ndots:2\n",
  );
  assert.deepEqual(candidates("web", search), ["web.ns.svc.test", "web.svc.test", "web"]);
  assert.deepEqual(candidates("a.b.c", search), ["a.b.c", "a.b.c.ns.svc.test", "a.b.c.svc.test"]);
  assert.deepEqual(candidates("web.", search), ["web"]);
  const { server, resolver } = await bench(t, {}, { search });
  server.zones.set("web.svc.test", { addresses: ["10.0.0.5"] });
  assert.deepEqual(await resolver.resolve("web"), ["10.0.0.5"]);
});
