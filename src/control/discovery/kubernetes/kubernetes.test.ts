/** Discovery in Kubernetes against an API server with its protocol: lists, watches, bookmarks, 410, and failures. */

import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import type { KubernetesDiscoveryConfig } from "../../../config/discovery.ts";
import { FindingsKit, need } from "../findings-kit.ts";
import { ApiServerKit, endpoints, slice } from "./api-server-kit.ts";
import { KubernetesSource } from "./kubernetes.ts";

const WEB = "kubernetes:default/web:http";

interface Bench {
  server: ApiServerKit;
  findings: FindingsKit;
  source: KubernetesSource;
}

const ANY = { equal: null, notEqual: null, match: null, notMatch: null };

async function cluster(
  t: TestContext,
  more: Partial<KubernetesDiscoveryConfig> = {},
): Promise<{ server: ApiServerKit; config: KubernetesDiscoveryConfig }> {
  const server = new ApiServerKit();
  const config: KubernetesDiscoveryConfig = {
    id: "",
    server: await server.listen(),
    isVerified: false,
    token: "token-1",
    tokenFile: null,
    namespaces: ANY,
    labelSelector: null,
    weight: 1,
    usesSlices: false,
    ...more,
  };
  t.after(() => server.stop());
  return { server, config };
}

async function bench(t: TestContext, more: Partial<KubernetesDiscoveryConfig> = {}): Promise<Bench> {
  const { server, config } = await cluster(t, more);
  const findings = new FindingsKit();
  const source = new KubernetesSource([config], findings);
  t.after(() => source.close());
  return { server, findings, source };
}

function watchWeb({ source }: Bench): void {
  source.watch([need("kubernetes", "default/web:http")]);
}

test("endpoints that are ready are nodes, by name of the port or number, and changes come by the watch", async (t) => {
  const b = await bench(t);
  const { server, findings, source } = b;
  server.put(endpoints("default", "web", "10.0.0.2", "10.0.0.1"));
  source.watch(
    ["default/web:http", "default/web:9090", "default/none:http"].map((name) => need("kubernetes", name)),
  );
  await findings.until(() => findings.answers.size === 3);
  assert.equal(findings.places(WEB), "10.0.0.1:8080, 10.0.0.2:8080");
  assert.equal(findings.places("kubernetes:default/web:9090"), "10.0.0.1:9090, 10.0.0.2:9090");
  assert.equal(findings.places("kubernetes:default/none:http"), "");
  await server.untilWatched(1);
  server.put(endpoints("default", "web", "10.0.0.3"));
  server.put(endpoints("default", "none", "10.0.0.4"));
  await findings.until(() => findings.places("kubernetes:default/none:http") === "10.0.0.4:8080");
  assert.equal(findings.places(WEB), "10.0.0.3:8080");
  server.delete("default", "web");
  await findings.until(() => findings.places(WEB) === "");
});

test("a list comes in pages, and counts when the last one is there", async (t) => {
  const b = await bench(t);
  b.server.pageSize = 2;
  for (let i = 0; i < 5; i++) b.server.put(endpoints("default", i === 4 ? "web" : `s${i}`, "10.0.0.1"));
  watchWeb(b);
  await b.findings.until(() => b.findings.answers.size === 1);
  assert.equal(b.findings.places(WEB), "10.0.0.1:8080");
  assert.deepEqual(
    b.server.lists.map(({ searchParams }) => searchParams.get("continue")),
    [null, "2", "4"],
  );
});

test("slices of a service are put together", async (t) => {
  const b = await bench(t, { usesSlices: true });
  const { server, findings } = b;
  server.put(slice("default", "web", "web-1", "10.0.0.1"));
  server.put(slice("default", "web", "web-2", "10.0.0.2"));
  watchWeb(b);
  await findings.until(() => findings.places(WEB) === "10.0.0.1:8080, 10.0.0.2:8080");
  assert.equal(server.lists[0].pathname, "/apis/discovery.k8s.io/v1/endpointslices");
  await server.untilWatched(1);
  server.put(slice("default", "web", "web-2", "10.0.0.3"));
  await findings.until(() => findings.places(WEB) === "10.0.0.1:8080, 10.0.0.3:8080");
  server.delete("default", "web-1");
  await findings.until(() => findings.places(WEB) === "10.0.0.3:8080");
});

test("a watch that ends goes on from the last version, that of a bookmark included", async (t) => {
  const b = await bench(t);
  const { server, findings } = b;
  server.put(endpoints("default", "web", "10.0.0.1"));
  watchWeb(b);
  await server.untilWatched(1);
  const version = server.bookmark();
  await findings.until(() => findings.confirmations > 0);
  server.endWatches();
  await server.untilWatched(2);
  const query = server.watches[1].searchParams;
  assert.deepEqual([query.get("resourceVersion"), query.get("allowWatchBookmarks")], [version, "true"]);
  assert.equal(server.lists.length, 1);
  server.put(endpoints("default", "web", "10.0.0.2"));
  await findings.until(() => findings.places(WEB) === "10.0.0.2:8080");
  assert.deepEqual(findings.failures, []);
});

test("a watch that is cut in the middle of an event loses nothing", async (t) => {
  const b = await bench(t);
  const { server, findings } = b;
  server.put(endpoints("default", "web", "10.0.0.1"));
  watchWeb(b);
  await server.untilWatched(1);
  server.endWatches(true);
  await server.untilWatched(2);
  server.put(endpoints("default", "web", "10.0.0.2"));
  await findings.until(() => findings.places(WEB) === "10.0.0.2:8080");
});

test("a version that the server has forgotten (410) leads to a new list, by status and by event", async (t) => {
  const b = await bench(t);
  const { server, findings } = b;
  server.put(endpoints("default", "web", "10.0.0.1"));
  watchWeb(b);
  await server.untilWatched(1);
  server.objects.set("default/web", endpoints("default", "web", "10.0.0.2"));
  server.send(JSON.stringify({ type: "ERROR", object: { kind: "Status", code: 410, reason: "Expired" } }));
  await findings.until(() => findings.places(WEB) === "10.0.0.2:8080");
  await server.untilWatched(2);
  server.objects.set("default/web", endpoints("default", "web", "10.0.0.3"));
  server.oldest = 1000;
  server.endWatches();
  await findings.until(() => findings.places(WEB) === "10.0.0.3:8080");
});

test("a list that fails, and a watch with what is no event, are failures; it is followed again", async (t) => {
  const b = await bench(t);
  const { server, findings, source } = b;
  server.put(endpoints("default", "web", "10.0.0.1"));
  server.listStatus = 500;
  watchWeb(b);
  await findings.until(() => findings.failures.length === 1);
  assert.equal(findings.places(WEB), undefined);
  server.listStatus = 200;
  await source.refresh();
  assert.equal(findings.places(WEB), "10.0.0.1:8080");
  await server.untilWatched(1);
  server.send("<html>");
  await findings.until(() => findings.failures.length === 2);
  server.objects.set("default/web", endpoints("default", "web", "10.0.0.2"));
  await source.refresh();
  assert.equal(findings.places(WEB), "10.0.0.2:8080");
});

test("a list without end is a failure, and takes nothing away", async (t) => {
  const b = await bench(t);
  const { server, findings, source } = b;
  server.put(endpoints("default", "web", "10.0.0.1"));
  watchWeb(b);
  await server.untilWatched(1);
  server.isEndless = true;
  server.objects.clear();
  findings.answers.clear();
  const before = server.lists.length;
  await source.refresh();
  assert.match(findings.failures.at(-1) ?? "", /more than 200000 objects/);
  assert.equal(findings.answers.size, 0);
  assert.ok(server.lists.length - before <= 401, `${server.lists.length - before} pages`);
});

test("a server that does not take the version of a watch is asked for a list, whatever it answers", async (t) => {
  const b = await bench(t);
  const { server, findings, source } = b;
  server.put(endpoints("default", "web", "10.0.0.1"));
  watchWeb(b);
  await server.untilWatched(1);
  // As a cluster that was set up anew says of versions that it has not reached yet.
  server.watchStatus = 504;
  server.objects.set("default/web", endpoints("default", "web", "10.0.0.2"));
  server.endWatches();
  await server.untilWatched(2);
  server.watchStatus = 200;
  await server.untilWatched(3);
  assert.deepEqual([findings.places(WEB), server.lists.length], ["10.0.0.2:8080", 2]);
  source.close();
});

test("an error without a code leads to a new list", async (t) => {
  const b = await bench(t);
  const { server, findings } = b;
  server.put(endpoints("default", "web", "10.0.0.1"));
  watchWeb(b);
  await server.untilWatched(1);
  server.objects.set("default/web", endpoints("default", "web", "10.0.0.2"));
  server.send(JSON.stringify({ type: "ERROR", object: { kind: "Status", code: "gone" } }));
  await findings.until(() => findings.places(WEB) === "10.0.0.2:8080");
});

test("the token is read from its file each time", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "cardea-kubernetes-"));
  t.after(() => rmSync(folder, { recursive: true }));
  const tokenFile = join(folder, "token");
  writeFileSync(tokenFile, "token-1\n");
  const b = await bench(t, { token: null, tokenFile });
  b.server.put(endpoints("default", "web", "10.0.0.1"));
  watchWeb(b);
  await b.server.untilWatched(1);
  b.server.token = "token-2";
  writeFileSync(tokenFile, "token-2\n");
  b.server.put(endpoints("default", "web", "10.0.0.2"));
  await b.source.refresh();
  assert.deepEqual([b.findings.places(WEB), b.findings.failures], ["10.0.0.2:8080", []]);
});

test("namespaces and labels are selected, by the server where it can", async (t) => {
  const cases: [
    namespaces: Partial<typeof ANY | KubernetesDiscoveryConfig["namespaces"]>,
    selector: string | null,
    expected: string,
  ][] = [
    [{ equal: "default" }, "metadata.namespace=default", "10.0.0.1:8080"],
    [{ notEqual: "other" }, "metadata.namespace!=other", "10.0.0.1:8080"],
    [{ match: [/^(?:def.*)$/] }, null, "10.0.0.1:8080"],
    [{ match: [/^(?:def)$/] }, null, ""],
    [{ notMatch: [/^(?:def.*)$/] }, null, ""],
  ];
  for (const [namespaces, selector, expected] of cases) {
    const b = await bench(t, { namespaces: { ...ANY, ...namespaces }, labelSelector: "app=web" });
    b.server.put(endpoints("default", "web", "10.0.0.1"));
    watchWeb(b);
    await b.findings.until(() => b.findings.answers.size === 1);
    assert.equal(b.findings.places(WEB), expected);
    const query = b.server.lists[0].searchParams;
    assert.deepEqual([query.get("fieldSelector"), query.get("labelSelector")], [selector, "app=web"]);
  }
});

test("with several clusters names begin with an id, and a cluster that fails does not hold up the others", async (t) => {
  const [one, two] = [await cluster(t, { id: "one" }), await cluster(t, { id: "two" })];
  one.server.put(endpoints("default", "web", "10.1.0.1"));
  two.server.put(endpoints("default", "web", "10.2.0.1"));
  const findings = new FindingsKit();
  const source = new KubernetesSource([one.config, two.config], findings);
  t.after(() => source.close());
  two.server.listStatus = 403;
  const names = [
    "one/default/web:http",
    "two/default/web:http",
    "default/web:http",
    "three/default/web:http",
  ];
  source.watch(names.map((name) => need("kubernetes", name)));
  await findings.until(() => findings.answers.size === 1 && findings.failures.length === 3);
  assert.equal(findings.places("kubernetes:one/default/web:http"), "10.1.0.1:8080");
  two.server.listStatus = 200;
  await source.refresh();
  assert.equal(findings.places("kubernetes:two/default/web:http"), "10.2.0.1:8080");
});
