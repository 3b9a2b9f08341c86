/**
 * `discovery:` of the static file: where nodes of upstreams with a `service_name` come from. Keys and defaults are those
 * of APISIX; `shared_size` is accepted and means nothing here.
 */

import { existsSync } from "node:fs";
import type { Static } from "@sinclair/typebox";
import { Type } from "../lib/schema.ts";
import { KubernetesCluster, KubernetesClusterWithId, kubernetesOf } from "./discovery-kubernetes.ts";
import { choice, nameServer, section, withoutEffect } from "./kinds.ts";
import type { ResolveInput } from "./resolve.ts";

/** Of a request to a registry, milliseconds. */
export interface RegistryTimeouts {
  connectMs: number;
  /** Between two parts of the answer. */
  readMs: number;
}

export interface DnsDiscoveryConfig {
  /** "ip" or "ip:port"; empty: those of `resolvConf`. */
  servers: string[];
  /** Path; null: the servers are given. */
  resolvConf: string | null;
  order: ("last" | "SRV" | "A" | "AAAA" | "CNAME")[];
}

export interface DumpConfig {
  path: string;
  isLoaded: boolean;
  /** A file that is older is not believed; 0: of any age. */
  expireMs: number;
}

export interface DefaultNode {
  host: string;
  port: number;
  metadata: Record<string, unknown>;
}

export interface ConsulDiscoveryConfig {
  /** "http://host:port". */
  servers: string[];
  token: string;
  timeouts: RegistryTimeouts;
  /** How long the registry may wait for a change before it answers. */
  waitMs: number;
  /** Between two looks, when changes are not waited for. */
  intervalMs: number;
  waitsForChanges: boolean;
  weight: number;
  sort: "origin" | "host_sort" | "port_sort" | "combine_sort";
  /** Services or keys that are not looked at. */
  skipped: string[];
  /** Of `consul_kv`. */
  prefix: string;
  dump: DumpConfig | null;
  /** Serves where the registry knows no node of a service. */
  defaultNode: DefaultNode | null;
}

export interface EurekaDiscoveryConfig {
  /** With user and password where there are some. */
  hosts: string[];
  prefix: string;
  intervalMs: number;
  weight: number;
  timeouts: RegistryTimeouts;
  /** Shown, and nothing else: question and answer have `timeouts.readMs` together. */
  sendMs: number;
}

export interface NacosDiscoveryConfig extends EurekaDiscoveryConfig {
  accessKey: string;
  secretKey: string;
}

export interface KubernetesDiscoveryConfig {
  /** Begins the names of services where there are several clusters; "": there is one. */
  id: string;
  /** "https://host:port" of the API server. */
  server: string;
  isVerified: boolean;
  /** Null: that in the file, as it is at the time. */
  token: string | null;
  tokenFile: string | null;
  namespaces: {
    equal: string | null;
    notEqual: string | null;
    match: RegExp[] | null;
    notMatch: RegExp[] | null;
  };
  labelSelector: string | null;
  weight: number;
  /** EndpointSlices instead of Endpoints. */
  usesSlices: boolean;
}

export interface DiscoveryConfig {
  /** Whether an answer without nodes empties an upstream that had some. */
  trustsEmpty: boolean;
  dns: DnsDiscoveryConfig | null;
  consul: ConsulDiscoveryConfig | null;
  consulKv: ConsulDiscoveryConfig | null;
  eureka: EurekaDiscoveryConfig | null;
  nacos: NacosDiscoveryConfig | null;
  /** Clusters; none: it is not set up. */
  kubernetes: KubernetesDiscoveryConfig[];
}

const MAX_SERVERS = 64;
const SECOND_MS = 1000;

const seconds = (options: { default: number; description: string }) =>
  Type.Integer({ minimum: 1, maximum: 86_400, ...options });
const milliseconds = (value: number, description: string) =>
  Type.Integer({ minimum: 1, maximum: 600_000, default: value, description });
const sharedSize = Type.Optional(withoutEffect("Memory is that of the node."));

const dns = Type.Object(
  {
    servers: Type.Optional(
      Type.Array(nameServer(), { minItems: 1, maxItems: 16, description: "Name servers that are asked." }),
    ),
    resolv_conf: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: 4096,
        description: "A file like /etc/resolv.conf instead of `servers`.",
      }),
    ),
    order: Type.Array(choice(["last", "SRV", "A", "AAAA", "CNAME"]), {
      default: ["last", "SRV", "A", "AAAA", "CNAME"],
      minItems: 1,
      maxItems: 5,
      description: "Kinds of record, the first that a name has counts; `last` is the one that it had before.",
    }),
  },
  { additionalProperties: false, description: "Names as services: all their records become nodes." },
);

const Dump = Type.Object(
  {
    path: Type.String({ minLength: 1, maxLength: 4096, description: "File for the nodes that were found." }),
    load_on_init: Type.Boolean({ default: true, description: "Whether it is read at the start." }),
    expire: Type.Integer({
      default: 0,
      minimum: 0,
      maximum: 31_536_000,
      description: "Seconds after which it is not believed; 0: never.",
    }),
  },
  { additionalProperties: false, description: "A copy of what was found, in a file." },
);

const DefaultService = Type.Object(
  {
    host: Type.String({ minLength: 1, maxLength: 253 }),
    port: Type.Integer({ minimum: 1, maximum: 65_535 }),
    metadata: Type.Object(
      {
        fail_timeout: Type.Integer({ default: 1 }),
        weight: Type.Integer({ default: 1 }),
        max_fails: Type.Integer({ default: 1 }),
      },
      { default: {}, additionalProperties: true },
    ),
  },
  { additionalProperties: false, description: "The node of services of which no other is known." },
);

const consulKeys = {
  servers: Type.Array(
    Type.String({
      pattern: "^https?://[^/@\\s?#]+$",
      maxLength: 1000,
      expects: "http://host:port without a path",
    }),
    { minItems: 1, maxItems: MAX_SERVERS, description: "Agents or servers that are asked, each of them." },
  ),
  token: Type.String({ default: "", secret: true, maxLength: 4096, description: "ACL token." }),
  fetch_interval: seconds({ default: 3, description: "Seconds between two looks without `keepalive`." }),
  keepalive: Type.Boolean({
    default: true,
    description: "Whether changes are waited for (blocking queries).",
  }),
  weight: Type.Integer({ default: 1, minimum: 1, maximum: 1_000_000, description: "Weight of nodes." }),
  timeout: section({
    connect: milliseconds(2000, "Milliseconds."),
    read: milliseconds(2000, "Milliseconds."),
    wait: seconds({ default: 60, description: "Seconds that a blocking query may last." }),
  }),
  dump: Type.Optional(Dump),
  default_service: Type.Optional(DefaultService),
  shared_size: sharedSize,
};

const Names = Type.Array(Type.String({ minLength: 1, maxLength: 1000 }), { minItems: 1, maxItems: 10_000 });

const consul = Type.Object(
  {
    ...consulKeys,
    sort_type: choice(["origin", "host_sort", "port_sort", "combine_sort"], {
      default: "origin",
      description: "Order of nodes.",
    }),
    skip_services: Type.Optional({ ...Names, description: "Services that are not looked at." }),
  },
  { additionalProperties: false, description: "Services of Consul: their instances that pass all checks." },
);

const consulKv = Type.Object(
  {
    ...consulKeys,
    prefix: Type.String({
      default: "upstreams",
      minLength: 1,
      maxLength: 1000,
      description: "Keys are `<prefix>/<service>/<ip>:<port>`.",
    }),
    skip_keys: Type.Optional({ ...Names, description: "Keys of services that are not looked at." }),
  },
  { additionalProperties: false, description: "Nodes among the keys of Consul." },
);

const pollTimeout = section({
  connect: milliseconds(2000, "Milliseconds."),
  send: milliseconds(2000, "Milliseconds; the question and the answer have `read` together."),
  read: milliseconds(5000, "Milliseconds."),
});

const RegistryHost = Type.String({
  secret: true,
  pattern: "^https?://(?:[^/@\\s]+@)?[^/@\\s?#]+$",
  maxLength: 1000,
  expects: "http://host:port, or http://user:password@host:port",
});

const eureka = Type.Object(
  {
    host: Type.Array(RegistryHost, {
      minItems: 1,
      maxItems: MAX_SERVERS,
      description: "Servers; one is asked.",
    }),
    prefix: Type.String({ default: "", maxLength: 1000, description: "Path before `/apps`, as `/eureka`." }),
    fetch_interval: seconds({ default: 30, description: "Seconds." }),
    weight: Type.Integer({
      default: 100,
      minimum: 0,
      maximum: 1_000_000,
      description: "Weight of nodes without.",
    }),
    timeout: pollTimeout,
  },
  { additionalProperties: false, description: "Applications of Eureka: their instances that are UP." },
);

const nacos = Type.Object(
  {
    host: Type.Array(RegistryHost, {
      minItems: 1,
      maxItems: MAX_SERVERS,
      description: "Servers; one is asked.",
    }),
    prefix: Type.String({
      default: "/nacos/v1/",
      pattern: "^[/a-zA-Z0-9_.-]+$",
      maxLength: 100,
      description: "Path of the API.",
    }),
    fetch_interval: seconds({ default: 30, description: "Seconds." }),
    weight: Type.Integer({
      default: 100,
      minimum: 1,
      maximum: 1_000_000,
      description: "Weight of nodes without.",
    }),
    timeout: pollTimeout,
    access_key: Type.String({ default: "", maxLength: 1000, description: "Of signed questions." }),
    secret_key: Type.String({
      default: "",
      secret: true,
      maxLength: 1000,
      description: "Of signed questions.",
    }),
  },
  { additionalProperties: false, description: "Services of Nacos: their healthy instances." },
);

export const discoverySection = section(
  {
    dns: Type.Optional(dns),
    consul: Type.Optional(consul),
    consul_kv: Type.Optional(consulKv),
    eureka: Type.Optional(eureka),
    nacos: Type.Optional(nacos),
    kubernetes: Type.Optional(
      Type.Union([KubernetesCluster, Type.Array(KubernetesClusterWithId, { minItems: 1, maxItems: 64 })], {
        expects: "a map, or a list of maps with ids",
        description:
          "Services of a Kubernetes cluster, or of several (`id` of each, then): see docs/discovery.md.",
      }),
    ),
    tars: Type.Optional(withoutEffect("Discovery in TARS.")),
  },
  { description: "Service discovery: see docs/discovery.md." },
);

export const discoveryOptions = section({
  trust_empty: Type.Boolean({
    default: false,
    description:
      "Whether a discovery that lists no node for a service empties its upstreams. Otherwise the last nodes stay.",
  }),
});

export function discovery(input: ResolveInput): DiscoveryConfig {
  const { filled, addProblem } = input;
  const given = filled.discovery;
  const { dns: names, consul: services, consul_kv: keys } = given;
  if (names !== undefined) {
    const { servers, resolv_conf: file } = names;
    if ((servers === undefined) === (file === undefined)) {
      addProblem(["discovery", "dns"], "expected one of servers and resolv_conf");
    }
    if (file !== undefined && !existsSync(file)) {
      addProblem(
        ["discovery", "dns", "resolv_conf"],
        `given ${JSON.stringify(file)}, expected a file that exists`,
      );
    }
  }
  return {
    trustsEmpty: filled.cardea.discovery.trust_empty,
    dns:
      names === undefined
        ? null
        : { servers: names.servers ?? [], resolvConf: names.resolv_conf ?? null, order: names.order },
    consul:
      services === undefined
        ? null
        : {
            ...consulOf(services),
            sort: services.sort_type,
            skipped: services.skip_services ?? [],
            prefix: "",
          },
    consulKv:
      keys === undefined
        ? null
        : { ...consulOf(keys), sort: "origin", skipped: keys.skip_keys ?? [], prefix: keys.prefix },
    eureka: given.eureka === undefined ? null : polled(given.eureka),
    kubernetes: kubernetesOf(input),
    nacos:
      given.nacos === undefined
        ? null
        : { ...polled(given.nacos), accessKey: given.nacos.access_key, secretKey: given.nacos.secret_key },
  };
}

type GivenConsul = Pick<Static<typeof consul>, keyof typeof consulKeys & keyof Static<typeof consul>>;

function consulOf(given: GivenConsul): Omit<ConsulDiscoveryConfig, "sort" | "skipped" | "prefix"> {
  const { servers, token, fetch_interval, keepalive, weight, timeout, dump, default_service } = given;
  return {
    servers,
    token,
    timeouts: { connectMs: timeout.connect, readMs: timeout.read },
    waitMs: timeout.wait * SECOND_MS,
    intervalMs: fetch_interval * SECOND_MS,
    waitsForChanges: keepalive,
    weight,
    dump:
      dump === undefined
        ? null
        : { path: dump.path, isLoaded: dump.load_on_init, expireMs: dump.expire * SECOND_MS },
    defaultNode: default_service ?? null,
  };
}

function polled(given: Static<typeof eureka>): EurekaDiscoveryConfig {
  const { host, prefix, fetch_interval, weight, timeout } = given;
  return {
    hosts: host,
    prefix,
    intervalMs: fetch_interval * SECOND_MS,
    weight,
    timeouts: { connectMs: timeout.connect, readMs: timeout.read },
    sendMs: timeout.send,
  };
}
