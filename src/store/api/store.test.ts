import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import * as fc from "fast-check";
import type { JsonObject } from "../../model/resource-type.ts";
import { StoreUnavailableError } from "../contract.ts";
import { SealedFile } from "../snapshot/sealed-file.ts";
import { WatchRecorder } from "../testkit.ts";
import { nextDocument, shownDocument, unknownKeys } from "./document.ts";
import { DocumentStore } from "./store.ts";

const folder = mkdtempSync(join(tmpdir(), "cardea-document-"));
after(() => rmSync(folder, { recursive: true }));

const secret = randomBytes(32);
const said: string[] = [];
const tell = (message: string) => void said.push(message);
const log = { info: tell, warn: tell, error: tell };
let files = 0;

function newFile(): SealedFile {
  return new SealedFile(join(folder, String(files++)), secret, "configs");
}

async function open(file: SealedFile = newFile()): Promise<DocumentStore> {
  return await DocumentStore.open({ file, log });
}

let digests = 0;

async function put(store: DocumentStore, body: JsonObject): Promise<number | null> {
  return await store.replace((before) => {
    const next = nextDocument(before, body, `d${digests++}`, 5000);
    if (typeof next === "string") throw new Error(next);
    return next;
  });
}

async function content(store: DocumentStore): Promise<Record<string, string>> {
  const { items } = await store.load();
  return Object.fromEntries(items.map(({ key, value }) => [key, value]));
}

test("the first document gives every type of APISIX the version 1", async () => {
  assert.deepEqual(shownDocument(null)["routes_conf_version"], 0);
  const document = nextDocument(null, { routes: [{ id: "1" }] }, "d", 12_345);
  assert.ok(typeof document !== "string");
  const shown = shownDocument(document);
  assert.deepEqual(shown["routes"], [{ id: "1" }]);
  assert.deepEqual(
    [shown["routes_conf_version"], shown["ssls_conf_version"], shown["plugins_conf_version"]],
    [1, 1, 1],
  );
  assert.deepEqual([shown["X-Digest"], shown["X-Last-Modified"]], ["d", 12]);
  assert.ok(!("graphql_cost_decorations_conf_version" in shown), "clients of APISIX do not know it");
  assert.ok(!("upstreams" in shown));
});

test("versions grow, are kept, or refuse the document", async () => {
  const document = (body: JsonObject, before: Parameters<typeof nextDocument>[0] = null) => {
    const next = nextDocument(before, body, "d", 0);
    if (typeof next === "string") throw new Error(next);
    return next;
  };
  const first = document({ routes_conf_version: 15, routes: [{ id: "1" }], upstreams: [{ id: "u" }] });
  const second = document({ routes_conf_version: 15, routes: [{ id: "2" }] }, first);
  assert.deepEqual(second.lists["routes"], [{ id: "1" }], "the same version: kept as it is");
  assert.equal(second.lists["upstreams"], undefined, "no version: replaced");
  assert.deepEqual([second.versions["routes"], second.versions["upstreams"]], [15, 2]);
  const third = document({ routes_conf_version: 17, routes: [] }, second);
  assert.deepEqual([third.versions["routes"], third.lists["routes"]], [17, undefined]);
  for (const [body, message] of [
    [{ routes_conf_version: 16 }, "routes_conf_version must be greater than or equal to (17)"],
    [{ routes_conf_version: "18" }, "routes_conf_version must be a number"],
    [{ routes_conf_version: null }, "routes_conf_version must be a number"],
    [{ routes: {} }, "routes must be an array"],
    [{ routes: null }, "routes must be an array"],
  ] as const) {
    assert.equal(nextDocument(third, body, "d", 0), message);
  }
});

test("keys that mean nothing are named, those that were read are not", () => {
  assert.deepEqual(unknownKeys({ route: [], routes: [], "X-Digest": "d", ssls_conf_version: 1 }), ["route"]);
});

test("a document becomes resources, credentials among the consumers", async () => {
  const store = await open();
  await put(store, {
    routes: [{ id: "r", uri: "/" }, { uri: "/x" }],
    consumers: [{ username: "jack" }, { id: "jack/credentials/a", plugins: {} }],
    plugins: [{ name: "key-auth" }],
  });
  assert.deepEqual(await content(store), {
    "/routes/r": '{"id":"r","uri":"/"}',
    "/routes/arr_2": '{"uri":"/x"}',
    "/consumers/jack": '{"username":"jack"}',
    "/consumers/jack/credentials/a": '{"id":"jack/credentials/a","plugins":{}}',
  });
  await store.close();
});

test("watchers hear what is different and nothing else", async () => {
  const store = await open();
  const recorder = new WatchRecorder(store, 0);
  await put(store, {
    routes: [{ id: "0" }, { id: "1", modifiedIndex: 7 }, { id: "2", modifiedIndex: 7 }],
  });
  await put(store, {
    routes: [{ id: "0" }, { id: "1", modifiedIndex: 7 }, { id: "3", modifiedIndex: 8 }],
  });
  assert.deepEqual(recorder.revisions, [1, 2]);
  const second = recorder.changes[1].events.map((event) =>
    event.type === "put" ? `put ${event.item.key}` : `delete ${event.key}`,
  );
  assert.deepEqual(second, ["put /routes/3", "delete /routes/2"]);
  recorder.stop();
  await store.close();
});

test("a resource with the modifiedIndex of before stays as it was, over a restart as well", async () => {
  const file = newFile();
  const store = await open(file);
  await put(store, { routes: [{ id: "1", uri: "/old", modifiedIndex: 1 }] });
  await put(store, { routes: [{ id: "1", uri: "/new", modifiedIndex: 1 }] });
  const old = { "/routes/1": '{"id":"1","uri":"/old"}' };
  assert.deepEqual(await content(store), old);
  assert.deepEqual(store.document!.lists["routes"], [{ id: "1", uri: "/new", modifiedIndex: 1 }]);
  const before = await store.load();
  await store.close();

  const again = await open(file);
  assert.equal(again.identity, store.identity);
  assert.deepEqual(again.document, store.document);
  assert.deepEqual(await again.load(), before);
  await put(again, { routes: [{ id: "1", uri: "/new", modifiedIndex: 2 }] });
  assert.deepEqual(await content(again), { "/routes/1": '{"id":"1","uri":"/new"}' });
  await put(again, { routes: [{ id: "1", uri: "/newer" }] });
  assert.deepEqual(await content(again), { "/routes/1": '{"id":"1","uri":"/newer"}' });
  await again.close();
});

test("a document that was not accepted leaves everything as it was", async () => {
  const store = await open();
  await put(store, { routes: [{ id: "1" }], routes_conf_version: 5 });
  const before = await store.load();
  await assert.rejects(put(store, { routes: [], routes_conf_version: 4 }), /greater than or equal to \(5\)/);
  assert.equal(await store.replace(() => null), null);
  assert.deepEqual(await store.load(), before);
  await put(store, { routes: [] });
  assert.deepEqual(await content(store), {}, "the next one is taken");
  await store.close();
});

test("what the disk does not take is not taken", async () => {
  const file = new SealedFile(join(folder, "missing", "configs"), secret, "configs");
  const store = await open(file);
  await assert.rejects(put(store, { routes: [{ id: "1" }] }), StoreUnavailableError);
  assert.deepEqual([store.document, (await store.load()).revision], [null, 0]);
  await store.close();
});

test("of documents that come at one time, each is made upon the one before", async () => {
  const store = await open();
  const revisions = await Promise.all(Array.from({ length: 20 }, () => put(store, {})));
  assert.deepEqual(
    revisions,
    Array.from({ length: 20 }, (_, i) => i + 1),
  );
  assert.equal(store.document!.versions["routes"], 20);
  await store.close();
});

test("a damaged file is put aside and said, and the node begins without a document", async () => {
  const file = newFile();
  const store = await open(file);
  await put(store, { routes: [{ id: "1" }] });
  await store.close();
  writeFileSync(file.path, readFileSync(file.path).subarray(0, -1));
  chmodSync(file.path, 0o600);
  said.length = 0;
  const again = await open(file);
  assert.equal(again.document, null);
  assert.deepEqual(said, ["the document that was put before is lost; waiting for the next one"]);
  assert.ok(existsSync(`${file.path}.damaged`));
  assert.equal(await put(again, { routes: [{ id: "2" }] }), 1);
  await again.close();
});

test("restarts at any time change nothing of what is in service", async () => {
  const entry = fc.record(
    {
      id: fc.constantFrom("a", "b", "c"),
      uri: fc.constantFrom("/1", "/2"),
      modifiedIndex: fc.integer({ min: 1, max: 3 }),
    },
    { requiredKeys: ["id", "uri"] },
  );
  const routes = fc.uniqueArray(entry, { selector: ({ id }) => id, maxLength: 3 });
  const step = fc.record(
    { routes, routes_conf_version: fc.integer({ min: 0, max: 6 }), isRestart: fc.boolean() },
    { requiredKeys: ["routes", "isRestart"] },
  );
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 8 }), async (steps) => {
      const file = newFile();
      const steady = await open();
      let restarted = await open(file);
      for (const { isRestart, ...body } of steps) {
        const outcomes = await Promise.allSettled([put(steady, body), put(restarted, body)]);
        assert.equal(outcomes[0].status, outcomes[1].status);
        if (isRestart) {
          await restarted.close();
          restarted = await open(file);
        }
        assert.deepEqual(await content(restarted), await content(steady));
      }
      await Promise.all([steady.close(), restarted.close()]);
    }),
    { numRuns: 40 },
  );
});
