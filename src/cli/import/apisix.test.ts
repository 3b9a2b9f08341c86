/** What APISIX keeps, in every form in which people have it. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { importApisix } from "./apisix.ts";
import { ImportReport } from "./report.ts";

const route = { uri: "/a", upstream_id: "u", create_time: 1, update_time: 2 };
const expected = {
  routes: [{ id: "1", uri: "/a", upstream_id: "u" }],
  consumers: [{ username: "jack" }, { id: "jack/credentials/x", plugins: { "key-auth": { key: "k" } } }],
  plugin_metadata: [{ id: "prometheus", a: 1 }],
};
const items: [key: string, value: object][] = [
  ["/apisix/routes/1", { id: "1", ...route }],
  ["/apisix/consumers/jack", { username: "jack", create_time: 1 }],
  ["/apisix/consumers/jack/credentials/x", { id: "x", plugins: { "key-auth": { key: "k" } } }],
  ["/apisix/plugin_metadata/prometheus", { id: "prometheus", a: 1 }],
];
const listed = items.map(([key, value]) => ({ key, value, modifiedIndex: 1 }));
const base64 = (text: string) => Buffer.from(text).toString("base64");

const forms: [name: string, document: unknown][] = [
  ["a list of the Admin API", { list: listed, total: 4 }],
  ["several answers", [{ list: listed.slice(0, 2), total: 2 }, listed[2], { list: [listed[3]] }]],
  ["a list of version 2", { node: { key: "/apisix", nodes: listed }, count: 4 }],
  [
    "what etcdctl prints",
    {
      kvs: [
        { key: base64("/apisix/routes/"), value: base64("init_dir") },
        ...items.map(([key, value]) => ({ key: base64(key), value: base64(JSON.stringify(value)) })),
      ],
    },
  ],
];
for (const [name, document] of forms) {
  test(`${name} is read`, () => {
    const report = new ImportReport();
    assert.deepEqual(importApisix(document, report), expected);
    assert.equal(report.text(), "");
  });
}

test("apisix.yaml is read, credentials by their ids, resources without one by their place", () => {
  const report = new ImportReport();
  const document = {
    routes: [{ id: 1, ...route }, { uri: "/b" }],
    consumers: [{ username: "jack" }, { id: "jack/credentials/x", plugins: {} }],
    plugins: [],
  };
  assert.deepEqual(importApisix(document, report), {
    routes: [
      { id: "1", uri: "/a", upstream_id: "u" },
      { id: "arr_2", uri: "/b" },
    ],
    consumers: [{ username: "jack" }, { id: "jack/credentials/x", plugins: {} }],
  });
  assert.match(report.text(), /differs: routes\[1\]: has no id/);
  assert.match(report.text(), /left out: plugins: is no type of resource/);
});

test("Lua and encrypted values are reported", () => {
  const report = new ImportReport();
  const plugins = {
    "key-auth": { key: "77+NmbYqNfN+oLm0aX5akg==" },
    cors: { _meta: { pre_function: "return function() end" } },
  };
  importApisix(
    {
      routes: [{ id: "1", filter_func: "function() end" }],
      consumers: [{ username: "a", plugins }],
      ssls: [{ id: "1", key: "77+NmbYqNfN+oLm0aX5akg==" }],
    },
    report,
  );
  for (const told of [
    /\/routes\/1: filter_func is Lua/,
    /\/consumers\/a: plugins\.key-auth\.key may be encrypted/,
    /plugins\.cors\._meta\.pre_function is Lua/,
    /\/ssls\/1: its private key is encrypted/,
  ]) {
    assert.match(report.text(), told);
  }
});

test("what is none of these is told apart", () => {
  assert.equal(importApisix({ a: 1 }, new ImportReport()), null);
  assert.equal(importApisix("text", new ImportReport()), null);
});
