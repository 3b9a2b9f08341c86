/**
 * Sets of routes and the requests that use them.
 *
 * The mix: a fifth each of exact host and path, path prefix, exact path with a condition on an argument,
 * wildcard host, and several methods and paths (or, for the router that knows them, path parameters).
 * Requests have nearly the same length whatever the number of routes.
 */

import type { Resource } from "./admin-client.ts";
import type { RequestShape } from "./load/request-list.ts";
import { ORIGIN_ADDRESSES } from "./peers/nginx.ts";

export type Plugins = Record<string, unknown>;

export interface RouteSet {
  /** What the routes refer to; written first, in order. */
  base: Resource[];
  routes: Resource[];
  /** `requests[i]` is answered by `routes[i]`. */
  requests: RequestShape[];
}

export function baseResources(originPort: number): Resource[] {
  return [
    { path: "upstreams/origin", body: { type: "roundrobin", nodes: { [`127.0.0.1:${originPort}`]: 1 } } },
    {
      path: "consumers/bench",
      body: {
        username: "bench",
        plugins: {
          "key-auth": { key: CONSUMER_KEY },
          "basic-auth": { username: "bench", password: CONSUMER_KEY },
        },
      },
    },
  ];
}

const CONSUMER_KEY = "bench-consumer-key";
const CONSUMER_HEADERS = { apikey: CONSUMER_KEY };
const BASIC_HEADERS = {
  authorization: `Basic ${Buffer.from(`bench:${CONSUMER_KEY}`).toString("base64")}`,
};

/** `plugins(i)` gives the plugins of route i; `withParameters` is for the router that takes `:name` in paths. */
export function mixedRoutes(
  count: number,
  originPort: number,
  {
    plugins,
    withParameters = false,
  }: { plugins?: (index: number) => Plugins; withParameters?: boolean } = {},
): RouteSet {
  const routes: Resource[] = [];
  const requests: RequestShape[] = [];
  const headers = plugins === undefined ? {} : CONSUMER_HEADERS;
  for (let i = 0; i < count; i++) {
    const { match, request } = shape(i, withParameters);
    routes.push({
      path: `routes/r${i}`,
      body: { ...match, upstream_id: "origin", ...(plugins === undefined ? {} : { plugins: plugins(i) }) },
    });
    requests.push({ ...request, headers });
  }
  return { base: baseResources(originPort), routes, requests };
}

function shape(
  i: number,
  withParameters: boolean,
): { match: Record<string, unknown>; request: RequestShape } {
  const id = String(i).padStart(5, "0");
  switch (i % 5) {
    case 0:
      return {
        match: { host: `h${id}.shop.example`, uri: `/exact/${id}` },
        request: { target: `/exact/${id}`, host: `h${id}.shop.example` },
      };
    case 1:
      return { match: { uri: `/api/${id}/*` }, request: { target: `/api/${id}/items/42` } };
    case 2:
      return {
        match: { uri: `/search/${id}`, vars: [["arg_v", "==", "1"]] },
        request: { target: `/search/${id}?v=1` },
      };
    case 3:
      return {
        match: { host: `*.w${id}.example`, uri: "/wild/*" },
        request: { target: "/wild/things", host: `a.w${id}.example` },
      };
    default:
      return withParameters
        ? { match: { uri: `/users/${id}/:user/orders` }, request: { target: `/users/${id}/me/orders` } }
        : {
            match: { uris: [`/list/${id}`, `/list/${id}/*`], methods: ["GET", "POST"] },
            request: { target: `/list/${id}/page` },
          };
  }
}

/** Does not depend on the host, and the churn leaves it there: what an open-loop generator may ask for. */
export function isSteadyRoute(index: number): boolean {
  return index % 5 === 1 || index % 5 === 2;
}

/** One route of its own per plugin, on hosts; index of the request tells which. */
export const PLUGIN_ROWS: Record<string, Plugins> = {
  bare: {},
  "key-auth": { "key-auth": {} },
  "limit-count": { "limit-count": limitCount(0) },
  prometheus: { prometheus: {} },
  "all three": { "key-auth": {}, "limit-count": limitCount(1), prometheus: {} },
};

export function limitCount(salt: number): Plugins {
  return {
    count: 1_000_000_000 + salt,
    time_window: 3600,
    key: "remote_addr",
    rejected_code: 429,
    policy: "local",
  };
}

/** Four plugins, different in every route, so that nothing can be shared between them. */
export function fourPlugins(index: number): Plugins {
  return {
    "key-auth": {},
    "limit-count": limitCount(index),
    prometheus: {},
    "ip-restriction": { blacklist: [`10.${(index >> 16) & 255}.${(index >> 8) & 255}.${index & 255}/32`] },
  };
}

/** A single path per row, all with the same host. */
export function pluginRoutes(originPort: number): RouteSet {
  const rows = Object.entries(PLUGIN_ROWS);
  return {
    base: baseResources(originPort),
    routes: rows.map(([, plugins], i) => ({
      path: `routes/p${i}`,
      body: { uri: `/plugin/p${i}`, upstream_id: "origin", plugins },
    })),
    requests: rows.map((_, i) => ({ target: `/plugin/p${i}`, headers: CONSUMER_HEADERS })),
  };
}

/**
 * One configuration per plugin, each of a usual kind; none of them refuses or answers a request of the benchmark.
 * `headers`: what its requests have besides.
 */
export const COSTED_PLUGINS: Record<string, { config: Plugins; headers?: Record<string, string> }> = {
  "key-auth": { config: {} },
  "limit-count": { config: limitCount(0) },
  prometheus: { config: {} },
  "ip-restriction": { config: { whitelist: ["127.0.0.0/8", "10.0.0.0/8", "192.168.1.5", "fd00::/8"] } },
  cors: { config: { allow_origins: "https://shop.example" }, headers: { origin: "https://shop.example" } },
  "request-id": { config: {} },
  "proxy-rewrite": {
    config: { uri: "/items", headers: { set: { "x-api-version": "2" }, remove: ["x-debug"] } },
  },
  "basic-auth": { config: {}, headers: BASIC_HEADERS },
  "limit-req": { config: { rate: 1e9, burst: 1e9, key: "remote_addr" } },
  "limit-conn": { config: { conn: 10_000, burst: 0, default_conn_delay: 0.1, key: "remote_addr" } },
  "response-rewrite": { config: { headers: { set: { "x-served-by": "bench" } } } },
  "client-control": { config: { max_body_size: 1_048_576 } },
  "real-ip": {
    config: { source: "http_x_forwarded_for", trusted_addresses: ["127.0.0.0/8"] },
    headers: { "x-forwarded-for": "192.0.2.7" },
  },
  "uri-blocker": { config: { block_rules: ["root.exe", "\\.env$"] } },
  "ua-restriction": { config: { denylist: ["badbot", "(scrapy|curl)/"] } },
  "referer-restriction": {
    config: { whitelist: ["shop.example", "*.shop.example"] },
    headers: { referer: "https://www.shop.example/" },
  },
};

/** The first route has no plugin; then one for each of `COSTED_PLUGINS`. */
export function costRoutes(originPort: number): RouteSet {
  const rows = Object.entries(COSTED_PLUGINS);
  const route = (i: number, plugins: Plugins): Resource => ({
    path: `routes/p${i}`,
    body: { uri: `/plugin/p${String(i).padStart(2, "0")}`, upstream_id: "origin", plugins },
  });
  const request = (i: number, headers: Record<string, string> = {}): RequestShape => ({
    target: `/plugin/p${String(i).padStart(2, "0")}`,
    headers: { ...CONSUMER_HEADERS, ...headers },
  });
  return {
    base: baseResources(originPort),
    routes: [route(0, {}), ...rows.map(([name, { config }], i) => route(i + 1, { [name]: config }))],
    requests: [request(0), ...rows.map(([, { headers }], i) => request(i + 1, headers))],
  };
}

/** Prefix routes with `prometheus`, each of which goes to every address of the origin. */
export function crowdedRoutes(count: number, originPort: number): RouteSet {
  const nodes = ORIGIN_ADDRESSES.map((host) => ({ host, port: originPort, weight: 1 }));
  const ids = Array.from({ length: count }, (_, i) => String(i).padStart(5, "0"));
  return {
    base: [{ path: "upstreams/crowd", body: { type: "roundrobin", nodes } }],
    routes: ids.map((id) => ({
      path: `routes/r${id}`,
      body: { uri: `/api/${id}/*`, upstream_id: "crowd", plugins: { prometheus: {} } },
    })),
    requests: ids.map((id) => ({ target: `/api/${id}/items/42` })),
  };
}

/** Everything goes to the origin. */
export function catchAllRoute(originPort: number): RouteSet {
  return {
    base: baseResources(originPort),
    routes: [{ path: "routes/all", body: { uri: "/*", upstream_id: "origin" } }],
    requests: [{ target: "/" }],
  };
}

/** A second upstream, which some paths go to. */
export interface OtherUpstream {
  port: number;
  paths: readonly string[];
  /** Of connecting, sending and reading. */
  timeoutSeconds: number;
}

/** Everything goes to the origin but what goes to the other one. */
export function twoUpstreams(originPort: number, { port, paths, timeoutSeconds }: OtherUpstream): RouteSet {
  const { base, routes, requests } = catchAllRoute(originPort);
  const timeout = { connect: timeoutSeconds, send: timeoutSeconds, read: timeoutSeconds };
  const upstream = { nodes: { [`127.0.0.1:${port}`]: 1 }, timeout };
  return { base, routes: [...routes, { path: "routes/other", body: { uris: paths, upstream } }], requests };
}
