import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { methodBit } from "./conditions.ts";
import { RouteMatch, type RoutePattern, type RouteQuery } from "./route-pattern.ts";
import { Router } from "./router.ts";

const HOSTS = ["a.com", "*.a.com", "*.b.a.com", "b.a.com", "a.com:81", "*.com"];
const URIS = ["/*", "/a", "/a*", "/a/*", "/a/b", "/a/b*"];
const METHODS = ["GET", "POST"];

const pattern = fc.record({
  uris: fc.uniqueArray(fc.constantFrom(...URIS), { minLength: 1, maxLength: 3 }),
  hosts: fc.uniqueArray(fc.constantFrom(...HOSTS), { maxLength: 2 }),
  methods: fc.uniqueArray(fc.constantFrom(...METHODS), { maxLength: 1 }),
  priority: fc.integer({ min: 0, max: 2 }),
});
const request = fc.record({
  rawHost: fc.constantFrom("a.com", "a.com:81", "b.a.com", "c.b.a.com", "x.com", "org"),
  path: fc.constantFrom("/", "/a", "/a/b", "/a/b/c", "/ab", "/c"),
  method: fc.constantFrom(...METHODS),
});

test("the match is the first candidate whose conditions hold", () => {
  fc.assert(
    fc.property(fc.array(pattern, { maxLength: 12 }), request, (patterns, { rawHost, path, method }) => {
      const router = new Router<RoutePattern>("radixtree_host_uri");
      for (const [i, fields] of patterns.entries()) {
        const route = { ...fields, id: String(i), createdOrder: i };
        router.insert(route, route);
      }
      const query: RouteQuery = {
        rawHost,
        host: rawHost.replace(/:\d+$/, ""),
        path,
        method,
        clientAddress: "127.0.0.1",
        variable: () => undefined,
      };
      const candidates = [...router.candidates(query)];
      const fits = (mask: number) => mask === 0 || (mask & methodBit(method)) !== 0;
      const first = candidates.find(({ entry }) => fits(entry.record.methods));
      const found = new RouteMatch<RoutePattern>();
      assert.equal(router.match(query, found) ? found.value!.id : undefined, first?.entry.record.id);
      if (first !== undefined) {
        assert.deepEqual([found.matchedUri, found.matchedHost], [first.entry.uri, first.host]);
      }
    }),
  );
});
