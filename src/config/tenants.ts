/**
 * `cardea.tenants`: nodes within the node. Each has its own part of the store, its own listeners, workers, control
 * thread, shared memory and folder; what it does not say for itself is as the file says for the node.
 */

import { Type } from "../lib/schema.ts";
import { prefixFault } from "./etcd.ts";
import { address, port, size } from "./kinds.ts";
import { DEFAULT_GROUP, GroupListen, type PlacedListener } from "./listeners.ts";
import type { ResolveInput } from "./resolve.ts";
import { hasAdmin, hasTraffic } from "./roles.ts";
import { streamProxySection } from "./schema-stream.ts";
import { streamListenersOf } from "./stream.ts";
import { keyFault } from "./well-known-keys.ts";
import type { ListenerConfig, StaticConfig, StoreConfig } from "./static-config.ts";

const GIBIBYTE = 1024 ** 3;
const MEBIBYTE = 1024 ** 2;

const place = (description: string) =>
  Type.Optional(
    Type.Object(
      { ip: address({ default: "127.0.0.1" }), port: port() },
      { additionalProperties: false, expects: "{ ip, port }", description },
    ),
  );

export const Tenant = Type.Object(
  {
    name: Type.String({
      pattern: "^(?!default$)[a-z0-9][a-z0-9-]{0,62}$",
      expects: "a name (a-z, 0-9, -) other than default",
    }),
    prefix: Type.Optional(
      Type.String({
        pattern: "^/?[^/]+(?:/[^/]+)*/?$",
        maxLength: 512,
        expects: "a prefix as /shop",
        description: "Keys of its resources in the etcd begin with it. Default: / and the name.",
      }),
    ),
    workers: Type.Integer({ default: 1, minimum: 1, maximum: 256, description: "Its own workers." }),
    listen: Type.Array(GroupListen, {
      minItems: 1,
      maxItems: 256,
      description: "Its own ports for traffic.",
    }),
    stream_proxy: Type.Optional({
      ...streamProxySection,
      description: "Its own ports for stream routes, as `apisix.stream_proxy`. Default: there are none.",
    }),
    admin_listen: place("Its Admin API. Default: there is none."),
    admin_key: Type.Optional(
      Type.String({
        minLength: 16,
        maxLength: 1024,
        expects: "a secret of 16 to 1024 characters",
        secret: true,
        description: "Key of its Admin API. Default: one is made and kept in its folder.",
      }),
    ),
    control_listen: place("Its Control API. Default: there is none."),
    metrics_listen: place("Its metrics, with the label `tenant`. Default: there are none."),
    status_listen: place("Its readiness. Default: it is not told."),
    max_connections_per_worker: Type.Optional(
      Type.Integer({ minimum: 1, maximum: 1_000_000, description: "Default: that of `cardea.http`." }),
    ),
    worker_heap: Type.Optional(
      size({
        minimum: 32 * MEBIBYTE,
        maximum: 64 * GIBIBYTE,
        description: "Heap limit of its workers. Default: that of `cardea.supervision`.",
      }),
    ),
  },
  { additionalProperties: false, expects: "{ name, workers, listen, ... }" },
);

/** Listeners of all tenants, by tenant. */
export function tenantListeners(input: ResolveInput): PlacedListener[][] {
  const { filled } = input;
  return filled.cardea.tenants.map((tenant, i) => {
    const path = ["cardea", "tenants", i];
    const placed: PlacedListener[] = [];
    const add = (listener: Omit<ListenerConfig, "group">, ...rest: (string | number)[]): void => {
      placed.push({ listener: { ...listener, group: DEFAULT_GROUP }, path: [...path, ...rest] });
    };
    for (const [j, { ip, port: number, tls, proxy_protocol: proxyProtocol }] of tenant.listen.entries()) {
      if (!hasTraffic(filled)) break;
      const purpose = tls ? "https" : "http";
      add({ purpose, address: ip ?? "0.0.0.0", port: number, proxyProtocol }, "listen", j);
    }
    if (tenant.stream_proxy !== undefined && hasTraffic(filled))
      placed.push(...streamListenersOf(input, tenant.stream_proxy, [...path, "stream_proxy"], DEFAULT_GROUP));
    for (const purpose of ["admin", "control", "metrics", "status"] as const) {
      const key = `${purpose}_listen` as const;
      const given = tenant[key];
      if (given === undefined || (purpose === "admin" && !hasAdmin(filled))) continue;
      add({ purpose, address: given.ip, port: given.port, proxyProtocol: false }, key, "port");
    }
    return placed;
  });
}

/** Workers of all tenants. */
export function tenantWorkers({ filled }: ResolveInput): number {
  return filled.cardea.tenants.reduce((sum, { workers }) => sum + (hasTraffic(filled) ? workers : 1), 0);
}

/** What each tenant runs on, made from what the node does. */
export function tenants(
  input: ResolveInput,
  node: Omit<StaticConfig, "tenants">,
  listeners: readonly (readonly PlacedListener[])[],
): StaticConfig[] {
  const given = input.filled.cardea.tenants;
  const taken = new Map<string, string>();
  if (node.store.type === "etcd") taken.set(node.store.prefix, "the node");
  return given.map((_, i) => {
    const own = listeners[i].map(({ listener }) => listener);
    return tenantConfig(input, i, node, own, taken);
  });
}

function tenantConfig(
  input: ResolveInput,
  i: number,
  node: Omit<StaticConfig, "tenants">,
  listeners: ListenerConfig[],
  taken: Map<string, string>,
): StaticConfig {
  const { filled, addProblem } = input;
  const given = filled.cardea.tenants;
  const { name, workers: wish, worker_heap: heap, max_connections_per_worker: connections } = given[i];
  if (given.slice(0, i).some((other) => other.name === name)) {
    const path = ["cardea", "tenants", i, "name"];
    addProblem(path, `given ${JSON.stringify(name)} twice, expected one tenant of a name`);
  }
  const has = (purpose: ListenerConfig["purpose"]): boolean =>
    listeners.some((each) => each.purpose === purpose);
  const workers = hasTraffic(filled) ? wish : 1;
  return {
    ...node,
    tenant: name,
    tenants: [],
    workers,
    groups: [{ name: DEFAULT_GROUP, workers }],
    listeners,
    http: { ...node.http, maxConnectionsPerWorker: connections ?? node.http.maxConnectionsPerWorker },
    // That of the node is another's traffic.
    fallback: null,
    admin: {
      ...node.admin,
      enabled: has("admin"),
      keys: keysOf(input, i),
      streamRoutes: node.admin.streamRoutes === true || given[i].stream_proxy !== undefined,
    },
    store: storeOf(input, i, node.store, taken),
    metrics: { ...node.metrics, enabled: has("metrics") },
    supervision:
      heap === undefined
        ? node.supervision
        : { ...node.supervision, workerHeapMb: Math.ceil(heap / MEBIBYTE) },
  };
}

function keysOf({ filled, addProblem }: ResolveInput, i: number): StaticConfig["admin"]["keys"] {
  const key = filled.cardea.tenants[i].admin_key;
  if (key === undefined) return [];
  const path = ["cardea", "tenants", i, "admin_key"];
  const fault = keyFault(key, false);
  if (fault !== null) addProblem(path, fault);
  const isSame = (other: { admin_key?: string | undefined }, j: number): boolean =>
    j < i && other.admin_key === key;
  const isOfNode = filled.deployment.admin.admin_key.some((other) => other.key === key);
  if (isOfNode || filled.cardea.tenants.some(isSame)) {
    addProblem(path, "given the same key as another Admin API of this node, expected a key of its own");
  }
  return [{ name: "admin", key, role: "admin", scope: null }];
}

/** `taken`: whose prefixes there are already. */
function storeOf(
  { filled, addProblem, addWarning }: ResolveInput,
  i: number,
  store: StoreConfig,
  taken: Map<string, string>,
): StoreConfig {
  const { name, prefix: text } = filled.cardea.tenants[i];
  if (store.type === "file") {
    addProblem(
      ["cardea", "tenants", i],
      "given a tenant where the resources stand in a file, expected a store (an etcd, the embedded one or a document)",
    );
  }
  if (store.type !== "etcd") {
    if (text !== undefined)
      addWarning(`the prefix of the tenant ${name} is not used: it has a store by itself`);
    return store;
  }
  const prefix = `/${(text ?? name).replace(/^\/|\/$/g, "")}`;
  const wrong = prefixFault(prefix);
  if (wrong !== null) addProblem(["cardea", "tenants", i, text === undefined ? "name" : "prefix"], wrong);
  for (const [other, whose] of taken) {
    if (!`${prefix}/`.startsWith(`${other}/`) && !`${other}/`.startsWith(`${prefix}/`)) continue;
    addProblem(
      ["cardea", "tenants", i, text === undefined ? "name" : "prefix"],
      `given ${prefix}, expected a prefix apart from ${other} of ${whose}`,
    );
  }
  taken.set(prefix, `the tenant ${name}`);
  return { ...store, prefix };
}
