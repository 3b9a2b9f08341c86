/** What is told of a change is what the router does: compared with routers over both configurations. */

import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import type { ConfigurationState } from "../../../control/state.ts";
import { RouteMatch } from "../../../data/route/route-pattern.ts";
import { Router } from "../../../data/route/router.ts";
import type { PublishedRoute } from "../../../model/published.ts";
import { resourceType } from "../../../model/resources.ts";
import { PluginCatalog } from "../../../plugins/catalog.ts";
import { type Impact, impactOf } from "./impact.ts";
import type { DecidedWrite } from "./planning.ts";

const HOSTS = ["a.com", "*.a.com", "*.b.a.com", "b.a.com", "a.com:81"];
const URIS = ["/*", "/a", "/a*", "/a/*", "/a/b"];
const METHODS = ["GET", "POST"];
const REQUEST_HOSTS = ["a.com", "a.com:81", "b.a.com", "c.b.a.com", "x.com"];
const REQUEST_PATHS = ["/", "/a", "/a/b", "/a/b/c", "/ab"];
const MODES = ["radixtree_host_uri", "radixtree_uri"] as const;

const type = resourceType("routes")!;
const plugins = new PluginCatalog(null);

const fields = fc.record(
  {
    uris: fc.uniqueArray(fc.constantFrom(...URIS), { minLength: 1, maxLength: 2 }),
    hosts: fc.uniqueArray(fc.constantFrom(...HOSTS), { minLength: 1, maxLength: 2 }),
    methods: fc.uniqueArray(fc.constantFrom(...METHODS), { minLength: 1, maxLength: 1 }),
    priority: fc.integer({ min: 0, max: 2 }),
  },
  { requiredKeys: ["uris"] },
);
type Fields = typeof fields extends fc.Arbitrary<infer Value> ? Value : never;

function publishedRoute(id: string, value: object, created: number): PublishedRoute {
  return type.normalize!(id, { ...value }, plugins, created) as PublishedRoute;
}

function routerOf(mode: (typeof MODES)[number], routes: readonly PublishedRoute[]): Router<string> {
  const router = new Router<string>(mode);
  for (const route of routes) router.insert({ ...route, createdOrder: route.created }, route.id);
  return router;
}

const found = new RouteMatch<string>();

function matchOf(router: Router<string>, rawHost: string, path: string, method: string): string | null {
  const host = rawHost.replace(/:\d+$/, "");
  const query = { rawHost, host, path, method, clientAddress: "127.0.0.1", variable: () => undefined };
  return router.match(query, found) ? found.value : null;
}

test("every request that goes elsewhere is told of, and nothing reaches what is told to be hidden", async () => {
  const change = fc.record({ id: fc.integer({ min: 0, max: 8 }), value: fc.option(fields) });
  const routes = fc.array(fields, { maxLength: 8 });
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(...MODES), routes, change, async (mode, before, { id, value }) => {
      const { was, will, impact } = await changed(mode, before, String(id), value);
      for (const host of REQUEST_HOSTS) {
        for (const path of REQUEST_PATHS) {
          for (const method of METHODS) {
            const from = matchOf(was, host, path, method);
            const to = matchOf(will, host, path, method);
            assert.ok(impact.hidden.every(({ route }) => route !== to));
            if (from !== to) assert.ok(isTold(impact, from, to), `${host}${path}: ${from} → ${to}`);
          }
        }
      }
    }),
    { numRuns: 200 },
  );
});

async function changed(
  mode: (typeof MODES)[number],
  before: readonly Fields[],
  id: string,
  value: Fields | null,
): Promise<{ was: Router<string>; will: Router<string>; impact: Impact }> {
  const routes = before.map((each, i) => publishedRoute(String(i), each, i + 1));
  const previous = routes.find((route) => route.id === id);
  const created = previous?.created ?? 100;
  const after = routes.filter((route) => route.id !== id);
  if (value !== null) after.push(publishedRoute(id, value, created));
  const entries = routes.map((route) => ({ id: route.id, published: JSON.stringify(route) }));
  const state = { list: (plural: string) => (plural === "routes" ? entries : []) };
  const target = { type, id, parent: null, subPath: "" };
  const decided = {
    write: { target, key: `/routes/${id}`, value, ifMatch: undefined },
    previous: previous === undefined ? undefined : { createRevision: created },
    value,
  };
  const impact = await impactOf([decided as DecidedWrite], state as unknown as ConfigurationState, {
    mode,
    plugins,
  });
  return { was: routerOf(mode, routes), will: routerOf(mode, after), impact };
}

/** A place where the one may have taken requests that the other may take now; null: no route. */
function isTold({ matches }: Impact, from: string | null, to: string | null): boolean {
  return matches.some(
    ({ before, after }) => (from === null || before.includes(from)) && (to === null || after.includes(to)),
  );
}
