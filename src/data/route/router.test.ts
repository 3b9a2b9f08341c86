import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { RouteMatch, type RoutePattern, type RouteQuery, type RouterMode } from "./route-pattern.ts";
import { Router } from "./router.ts";

interface Request {
  host: string;
  rawHost: string;
  path: string;
  method: string;
  clientAddress: string;
  x: string | undefined;
}

const DEFAULTS: Request = {
  host: "a.com",
  rawHost: "a.com",
  path: "/",
  method: "GET",
  clientAddress: "127.0.0.1",
  x: undefined,
};

function queryOf(request: Partial<Request>): RouteQuery {
  const all = { ...DEFAULTS, ...request };
  return { ...all, variable: (name) => (name === "arg_x" ? all.x : undefined) };
}

function route(id: string, uris: string | string[], more: Partial<RoutePattern> = {}): RoutePattern {
  return { id, uris: [uris].flat(), priority: 0, createdOrder: Number(id), ...more };
}

function routerOf(
  mode: RouterMode,
  ...patterns: RoutePattern[]
): (request: Partial<Request>) => string | null {
  const router = new Router<string>(mode);
  for (const pattern of patterns) router.insert(pattern, pattern.id);
  const result = new RouteMatch<string>();
  return (request) => (router.match(queryOf(request), result) ? result.value : null);
}

test("an exact path beats every prefix, and the longest prefix wins whatever its priority", () => {
  const find = routerOf(
    "radixtree_uri",
    route("1", "/*", { priority: 9 }),
    route("2", "/blog/*", { priority: 5 }),
    route("3", "/blog/bar*"),
    route("4", "/blog/bar"),
  );
  assert.equal(find({ path: "/blog/bar" }), "4");
  assert.equal(find({ path: "/blog/barn" }), "3");
  assert.equal(find({ path: "/blog/ba" }), "2");
  assert.equal(find({ path: "/blog" }), "1");
});

test("a prefix matches its bare text too", () => {
  assert.equal(routerOf("radixtree_host_uri", route("1", "/blog/bar*"))({ path: "/blog/bar" }), "1");
});

test("where conditions fail the search climbs to the next shorter prefix", () => {
  const find = routerOf(
    "radixtree_uri",
    route("1", "/*"),
    route("2", "/a/*", { methods: ["POST"] }),
    route("3", "/a/b", { vars: [["arg_x", "==", "1"]] }),
  );
  assert.equal(find({ path: "/a/b", x: "1" }), "3");
  assert.equal(find({ path: "/a/b", method: "POST" }), "2");
  assert.equal(find({ path: "/a/b" }), "1");
});

test("on one node the higher priority goes first, then the older route", () => {
  const find = routerOf(
    "radixtree_uri",
    route("2", "/a"),
    route("1", "/a"),
    route("3", "/a", { priority: 1, methods: ["PUT"] }),
  );
  assert.equal(find({ path: "/a" }), "1");
  assert.equal(find({ path: "/a", method: "PUT" }), "3");
});

test("hosts: exact, then the longest wildcard, then shorter ones, then routes without a host", () => {
  const find = routerOf(
    "radixtree_host_uri",
    route("1", "/*"),
    route("2", "/*", { hosts: ["*.com"] }),
    route("3", "/*", { hosts: ["*.a.com"] }),
    route("4", "/x", { hosts: ["w.a.com"] }),
  );
  assert.equal(find({ host: "w.a.com", path: "/x" }), "4");
  assert.equal(find({ host: "w.a.com", path: "/y" }), "3");
  assert.equal(find({ host: "v.w.a.com", path: "/y" }), "3");
  assert.equal(find({ host: "a.com", path: "/y" }), "2");
  assert.equal(find({ host: "a.org", path: "/y" }), "1");
  assert.equal(find({ host: "", path: "/y" }), "1");
});

test("a host entry with a port is compared with the host as sent", () => {
  for (const mode of ["radixtree_host_uri", "radixtree_uri"] as const) {
    const find = routerOf(mode, route("1", "/a", { hosts: ["a.com:9080"] }));
    assert.equal(find({ path: "/a", rawHost: "a.com:9080" }), "1", mode);
    assert.equal(find({ path: "/a" }), null, mode);
  }
  const find = routerOf("radixtree_host_uri", route("1", "/a", { hosts: ["[::1]"] }));
  assert.equal(find({ path: "/a", host: "[::1]", rawHost: "[::1]:9080" }), "1");
});

test("a match tells the uri and the host entry that matched", () => {
  for (const mode of ["radixtree_host_uri", "radixtree_uri"] as const) {
    const router = new Router<number>(mode);
    router.insert(route("1", ["/b", "/a/*"], { hosts: ["b.com", "*.A.com"] }), 1);
    const result = new RouteMatch<number>();
    assert.ok(router.match(queryOf({ host: "w.a.com", path: "/a/1" }), result));
    assert.deepEqual([result.matchedUri, result.matchedHost], ["/a/*", "*.a.com"], mode);
  }
});

test("parameter paths capture segments and tails", () => {
  const table: [uri: string, path: string, params: Record<string, string> | null][] = [
    ["/user/:id", "/user/7", { id: "7" }],
    ["/user/:id", "/user/", null],
    ["/user/:id", "/user/7/", null],
    ["/user/:id/", "/user/7/", { id: "7" }],
    ["/user/:id/posts/:post", "/user/7/posts/8", { id: "7", post: "8" }],
    ["/:name/hello", "/x/hello", { name: "x" }],
    ["/name/:name/*other", "/name/a/b/c", { name: "a", other: "b/c" }],
    ["/name/:name/*other", "/name/a/", { name: "a", other: "" }],
    ["/name/:name/*other", "/name/a", null],
    ["/a/*x/b", "/a/1/b/2/b", { x: "1/b/2" }],
    ["/a/*x/b", "/a/1/b/2", null],
    ["/a/*/b", "/a/1/b", { ":ext": "1" }],
    ["/a/*x/:y", "/a/1/2/3", { x: "1/2", y: "3" }],
    ["/file:list", "/file:list", {}],
    ["/file:list", "/file:x", null],
    ["/user/:id", "/user/\n", { id: "\n" }],
  ];
  for (const [uri, path, params] of table) {
    const router = new Router<number>("radixtree_uri_with_parameter");
    router.insert(route("1", uri), 1);
    const result = new RouteMatch<number>();
    const found = router.match(queryOf({ path }), result);
    const actual = found
      ? Object.fromEntries(result.paramNames.map((name) => [name, result.param(name)]))
      : null;
    assert.deepEqual(actual, params, `${uri} ${path}`);
  }
});

test("without parameter mode a colon is text", () => {
  const find = routerOf("radixtree_host_uri", route("1", "/user/:id"));
  assert.equal(find({ path: "/user/7" }), null);
  assert.equal(find({ path: "/user/:id" }), "1");
});

test("a path full of wildcards in the middle is given up after a bounded number of steps", () => {
  const find = routerOf("radixtree_uri", route("1", `/${"*a/".repeat(30)}x`), route("2", "/*"));
  assert.equal(find({ path: `/${"a/".repeat(4000)}` }), "2");
});

test("a method that routes cannot name is taken by routes without methods only", () => {
  const find = routerOf("radixtree_uri", route("1", "/a", { methods: ["GET", "POST"] }), route("2", "/*"));
  assert.equal(find({ path: "/a", method: "PROPFIND" }), "2");
});

test("an insert that is refused leaves the router as it was", () => {
  const router = new Router<string>("radixtree_uri");
  router.insert(route("1", "/a"), "old");
  assert.throws(() => router.insert(route("1", "/b", { remoteAddrs: ["nowhere"] }), "new"), RangeError);
  assert.throws(() => router.insert(route("1", "/b", { methods: ["YELL"] }), "new"), RangeError);
  const result = new RouteMatch<string>();
  assert.ok(router.match(queryOf({ path: "/a" }), result));
  assert.equal(result.value, "old");
});

test("vars that do not compile never hold", () => {
  const find = routerOf("radixtree_uri", route("1", "/a", { vars: ["arg_x", "==", "1"] }));
  assert.equal(find({ path: "/a", x: "1" }), null);
});

// The twin: what the manual says, with a list and no thought of speed.

/** The first wildcard of a path: a star, or in parameter mode a colon that begins a segment. */
function wildcardAt(uri: string, withParameters: boolean): number {
  return uri.search(withParameters ? /\*|(?<=\/):/ : /\*/);
}

/** Parameters of what follows the prefix, whose length is `from`; null where it does not fit. */
function paramsOf(uri: string, path: string, from: number): string[] | null {
  const body = uri
    .slice(from)
    .split("/")
    .map((segment, at) => {
      const isWhole = at > 0 || uri[from - 1] === "/";
      if (isWhole && segment.startsWith(":")) return "([^/]+)";
      return isWhole && segment.startsWith("*") ? "([^]*)" : segment.replace(/\*.*/, "[^/]*");
    });
  return new RegExp(`^${body.join("/")}$`).exec(path.slice(from))?.slice(1) ?? null;
}

function holds(pattern: RoutePattern, request: Request, withHosts: boolean): boolean {
  if (pattern.methods && !pattern.methods.includes(request.method)) return false;
  if (pattern.remoteAddrs && !pattern.remoteAddrs.includes(request.clientAddress)) return false;
  if (pattern.vars && request.x !== "1") return false;
  return !withHosts || !pattern.hosts || pattern.hosts.some((entry) => hostRank(entry, request) > 0);
}

/** 0 where the entry does not fit; the greater the earlier it is asked. */
function hostRank(entry: string, request: Request): number {
  const hasPort = entry.includes(":");
  const host = hasPort ? request.rawHost : request.host;
  const base = hasPort ? 10_000 : 1;
  if (entry === host) return base + 1000;
  return entry.startsWith("*") && host.endsWith(entry.slice(1)) ? base + entry.length : 0;
}

function linearMatch(
  mode: RouterMode,
  patterns: RoutePattern[],
  request: Request,
): [id: string, params: string[]] | null {
  const withParameters = mode === "radixtree_uri_with_parameter";
  const hostMode = mode === "radixtree_host_uri";
  const candidates: { pattern: RoutePattern; uri: string; keys: number[]; params: string[] }[] = [];
  for (const pattern of patterns) {
    if (!holds(pattern, request, !hostMode)) continue;
    const ranks =
      hostMode && pattern.hosts
        ? pattern.hosts.map((entry) => hostRank(entry, request)).filter(Boolean)
        : [0];
    for (const uri of pattern.uris) {
      const at = wildcardAt(uri, withParameters);
      if (at === -1 ? uri !== request.path : !request.path.startsWith(uri.slice(0, at))) continue;
      let params: string[] = [];
      if (at !== -1 && at !== uri.length - 1 && /\/[:*]/.test(uri.slice(at - 1))) {
        const found = paramsOf(uri, request.path, at);
        if (found === null) continue;
        params = found;
      }
      const nearness = at === -1 ? Infinity : at;
      for (const rank of ranks) {
        candidates.push({
          pattern,
          uri,
          params,
          keys: [rank, nearness, pattern.priority, uri.length, -pattern.createdOrder],
        });
      }
    }
  }
  candidates.sort((a, b) => {
    const at = a.keys.findIndex((key, i) => key !== b.keys[i]);
    return at === -1 ? 0 : b.keys[at] - a.keys[at];
  });
  return candidates.length === 0 ? null : [candidates[0].pattern.id, candidates[0].params];
}

const segment = fc.constantFrom("", "a", "b", "ab", "abc", ":x", "*", "*y", "a*");
const uri = fc.array(segment, { minLength: 1, maxLength: 4 }).map((segments) => `/${segments.join("/")}`);
const path = fc
  .array(fc.constantFrom("", "a", "b", "ab", "abc", ":x"), { minLength: 1, maxLength: 5 })
  .map((segments) => `/${segments.join("/")}`);
const hostEntry = fc.constantFrom("a.com", "b.a.com", "*.com", "*.a.com", "*a.com", "a.com:80", "*.com:80");
const optional = <Value>(arbitrary: fc.Arbitrary<Value>) => fc.option(arbitrary, { nil: undefined, freq: 2 });

const change = fc.record({
  number: fc.integer({ min: 0, max: 14 }),
  isDelete: fc.boolean(),
  uris: fc.uniqueArray(uri, { minLength: 1, maxLength: 3 }),
  hosts: optional(fc.uniqueArray(hostEntry, { minLength: 1, maxLength: 3 })),
  methods: optional(fc.constant(["POST"])),
  remoteAddrs: optional(fc.constant(["10.0.0.1"])),
  vars: optional(fc.constant([["arg_x", "==", "1"]])),
  priority: fc.integer({ min: 0, max: 2 }),
});

const request = fc
  .record({
    bare: fc.constantFrom("a.com", "b.a.com", "c.b.a.com", "xa.com", "com", ""),
    port: fc.constantFrom("", ":80", ":81"),
    path,
    method: fc.constantFrom("GET", "POST"),
    clientAddress: fc.constantFrom("10.0.0.1", "10.0.0.2"),
    x: fc.constantFrom("1", undefined),
  })
  .map(({ bare, port, ...rest }) => Object.assign(rest, { host: bare, rawHost: bare + port }));

for (const mode of ["radixtree_host_uri", "radixtree_uri", "radixtree_uri_with_parameter"] as const) {
  test(`${mode}: agrees with a linear search through any series of inserts, replacements and deletes`, () => {
    fc.assert(
      fc.property(
        fc.array(change, { maxLength: 30, size: "max" }),
        fc.array(request, { minLength: 8, maxLength: 8 }),
        (changes, requests) => {
          const router = new Router<string>(mode);
          const twin = new Map<string, RoutePattern>();
          const result = new RouteMatch<string>();
          for (const { number, isDelete, ...pattern } of changes) {
            const id = String(number);
            if (isDelete) {
              assert.equal(router.delete(id), twin.delete(id));
            } else {
              const full = { ...pattern, id, createdOrder: number };
              router.insert(full, id);
              twin.set(id, full);
            }
            assert.equal(router.size, twin.size);
            for (const asked of requests) {
              const expected = linearMatch(mode, [...twin.values()], asked);
              const actual = router.match(queryOf(asked), result)
                ? [result.value, [...result.paramValues]]
                : null;
              assert.deepEqual(actual, expected);
            }
          }
        },
      ),
      { numRuns: 400 },
    );
  });

  test(`${mode}: no table is left behind when every route was deleted`, () => {
    fc.assert(
      fc.property(fc.array(change, { minLength: 1, maxLength: 30 }), (changes) => {
        const router = new Router<string>(mode);
        for (const { number, isDelete: _, ...pattern } of changes) {
          router.insert({ ...pattern, id: String(number), createdOrder: number }, "");
        }
        assert.ok(!router.isEmpty);
        for (const { number } of changes) router.delete(String(number));
        assert.ok(router.isEmpty);
      }),
    );
  });
}
