/** The order of the table is the router's. */

import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { Router } from "../../../data/route/router.ts";
import { RouteTable } from "./route-table.ts";

const HOSTS = ["a.com", "*.a.com", "*.b.a.com", "b.a.com", "a.com:81", "*.com"];
const URIS = ["/*", "/a", "/a*", "/a/*", "/a/b", "/a/b*", "*"];

const routes = fc.array(
  fc.record({
    uris: fc.uniqueArray(fc.constantFrom(...URIS), { minLength: 1, maxLength: 3 }),
    hosts: fc.uniqueArray(fc.constantFrom(...HOSTS), { maxLength: 2 }),
    priority: fc.integer({ min: 0, max: 2 }),
    created: fc.integer({ min: 0, max: 3 }),
  }),
  { maxLength: 12 },
);
const request = fc.record({
  rawHost: fc.constantFrom("a.com", "a.com:81", "b.a.com", "c.b.a.com", "x.com", "org", ""),
  path: fc.constantFrom("/", "/a", "/a/b", "/a/b/c", "/ab", "/c"),
});

test("requests meet the routes of a table in the order in which the router tries them", () => {
  fc.assert(
    fc.property(routes, request, (all, { rawHost, path }) => {
      const router = new Router<string>("radixtree_host_uri");
      const table = new RouteTable("radixtree_host_uri");
      for (const [i, fields] of all.entries()) {
        const id = String(i);
        router.insert({ ...fields, id, createdOrder: fields.created }, id);
        table.add({ ...fields, id, enabled: true }, fields.hosts);
      }
      const host = rawHost.replace(/:\d+$/, "");
      const variable = () => undefined;
      const query = { rawHost, host, path, method: "GET", clientAddress: "127.0.0.1", variable };
      const expected = [...router.candidates(query)].map(({ entry }) => `${entry.record.id} ${entry.uri}`);
      const found = [...table.candidates(rawHost, path)].map(({ route, uri }) => `${route.id} ${uri}`);
      assert.deepEqual(found, expected);
    }),
  );
});
