/** What is checked of an item of a file before it is taken. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { PluginCatalog } from "../plugins/catalog.ts";
import type { JsonObject } from "../model/resource-type.ts";
import { itemCheck } from "./open-store.ts";

const checkWith = itemCheck(new PluginCatalog(null));
const others = new Map<string, JsonObject>([
  ["/consumers/jack", { username: "jack" }],
  ["/upstreams/u", { id: "u" }],
]);
const check = (key: string, value: JsonObject) => checkWith(key, value, (other) => others.get(other));

test("a valid resource has no fault, a credential of a file included", () => {
  const upstream = { nodes: { "a:1": 1 } };
  assert.equal(check("/routes/1", { id: 1, uri: "/a", upstream }), null);
  const credential = { id: "jack/credentials/one", name: "jack", plugins: { "key-auth": { key: "k" } } };
  assert.equal(check("/consumers/jack/credentials/one", credential), null);
  assert.equal(check("/consumers/jack", { id: "jack", username: "jack" }), null);
});

test("a fault says where it is", () => {
  const fault = check("/routes/1", { uri: "/a", plugins: { "key-auth": { header: 5 } } });
  assert.equal(fault?.pointer, "/plugins/key-auth/header");
});

test("what it refers to must be there", () => {
  assert.equal(check("/routes/1", { uri: "/a", upstream_id: "u" }), null);
  assert.equal(check("/routes/1", { uri: "/a", upstream_id: "v" })?.pointer, "/upstream_id");
  assert.match(
    check("/consumers/rose/credentials/one", { plugins: {} })?.message ?? "",
    /missing: consumers rose/,
  );
});

test("an id that no key can have is a fault", () => {
  assert.equal(check("/routes/a/b", { id: "a/b", uri: "/a" })?.pointer, "/id");
});

test("a fault repeats no secret", () => {
  const fault = check("/consumers/jack", {
    username: "jack",
    plugins: { "key-auth": { key: "canary", canary: "canary" } },
  });
  const other = check("/consumers/jack", { username: "jack", plugins: { "key-auth": "canary" } });
  assert.doesNotMatch(`${fault?.message}${other?.message}`, /canary/);
});
