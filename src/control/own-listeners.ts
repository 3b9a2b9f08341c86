/**
 * Whether a resource sends traffic to the node's own Admin, Control, metrics or status listener. A key with a scope
 * must not open these: what they answer is about everybody's configuration, and most of them ask for no key.
 *
 * Looked for are nodes, pairs of `host` and `port`, "host:port" and URLs, in whatever field they stand: an upstream, an
 * inline one, a plugin; and the ports that health checks probe. A name with such a port is refused whatever it means
 * now, since it may mean this machine a second later.
 */

import { hostname, networkInterfaces } from "node:os";
import type { ListenerConfig } from "../config/static-config.ts";
import { AddressSet, isAddress } from "../lib/address.ts";

const LOOPBACK = new AddressSet(["127.0.0.0/8", "::1", "0.0.0.0", "::", "::ffff:127.0.0.0/104"]);
/** Fields that are text for people, wherever they stand. */
const NO_TARGETS: ReadonlySet<string> = new Set(["labels", "desc", "name"]);
const DEFAULT_PORTS: Readonly<Record<string, number>> = {
  "http:": 80,
  "https:": 443,
  "ws:": 80,
  "wss:": 443,
};

export class OwnListeners {
  readonly #byPort = new Map<number, ListenerConfig["purpose"]>();

  constructor(listeners: readonly Pick<ListenerConfig, "purpose" | "port">[]) {
    for (const { purpose, port } of listeners) {
      if (!isTraffic(purpose)) this.#byPort.set(port, purpose);
    }
  }

  /** Whether the URL leads to one of them as it is; of names, those of the machine do. */
  isLedTo(url: URL): boolean {
    const port = url.port === "" ? DEFAULT_PORTS[url.protocol] : Number(url.port);
    return port !== undefined && this.#byPort.has(port) && isThisMachine(url.hostname, isOwnName);
  }

  /** Why the value may not be written by a key with a scope; null: it may. */
  refusalOf(value: unknown): string | null {
    if (typeof value === "string") return this.#refusalOfText(value);
    if (typeof value !== "object" || value === null) return null;
    if (Array.isArray(value)) return firstOf(value, (item) => this.refusalOf(item));
    const { host, port, checks } = value as { host?: unknown; port?: unknown; checks?: unknown };
    const own =
      typeof host === "string" && typeof port === "number" ? this.#refusalOfTarget(host, port) : null;
    return (
      own ??
      this.#refusalOfProbes(value, checks) ??
      firstOf(Object.entries(value), ([key, item]) =>
        NO_TARGETS.has(key) ? null : (this.#refusalOfText(key) ?? this.refusalOf(item)),
      )
    );
  }

  /** Health checks may have a port of their own, for all nodes. */
  #refusalOfProbes(upstream: object, checks: unknown): string | null {
    const port = (checks as { active?: { port?: unknown } | null } | null | undefined)?.active?.port;
    if (typeof port !== "number" || !this.#byPort.has(port)) return null;
    const { nodes } = upstream as { nodes?: unknown };
    const hosts = hostsOf(nodes);
    // What discovery finds may be anything.
    if (hosts.length === 0) return this.#refusalOfTarget("localhost", port);
    return firstOf(hosts, (host) => this.#refusalOfTarget(host, port));
  }

  #refusalOfText(text: string): string | null {
    const isUrl = text.includes("://");
    if (!isUrl && !/:\d{1,5}$/.test(text)) return null;
    const url = URL.parse(isUrl ? text : `tcp://${text}`);
    if (url === null) return null;
    return this.#refusalOfTarget(
      url.hostname,
      url.port === "" ? DEFAULT_PORTS[url.protocol] : Number(url.port),
    );
  }

  #refusalOfTarget(host: string, port: number | undefined): string | null {
    const purpose = port === undefined ? undefined : this.#byPort.get(port);
    if (purpose === undefined || !isThisMachine(host, isAnyName)) return null;
    return `${host}:${port} is the ${purpose} listener of the node, which only keys without a scope may open`;
  }
}

/** Of nodes in either form. */
function hostsOf(nodes: unknown): string[] {
  if (Array.isArray(nodes)) {
    return (nodes as { host?: unknown }[])
      .map((node) => node?.host)
      .filter((host) => typeof host === "string");
  }
  if (typeof nodes !== "object" || nodes === null) return [];
  return Object.keys(nodes).map((place) => URL.parse(`tcp://${place}`)?.hostname ?? place);
}

function isOwnName(name: string): boolean {
  return name === "localhost" || name.endsWith(".localhost") || name === hostname().toLowerCase();
}

/** It may come to mean it. */
function isAnyName(): boolean {
  return true;
}

function isThisMachine(host: string, isOwn: (name: string) => boolean): boolean {
  // The spellings of an IPv4 address are many ("127.1", "0x7f000001"); URLs have one.
  const bare = host.startsWith("[") ? host.slice(1, -1) : host;
  const name = (
    URL.parse(`http://${bare.includes(":") ? `[${bare}]` : bare}`)?.hostname ?? bare
  ).toLowerCase();
  const plain = (name.startsWith("[") ? name.slice(1, -1) : name).replace(/\.$/, "");
  if (!isAddress(plain)) return isOwn(plain);
  if (LOOPBACK.has(plain)) return true;
  return Object.values(networkInterfaces()).some((list) =>
    list?.some(({ address }) => sameAs(address, plain)),
  );
}

function sameAs(address: string, other: string): boolean {
  return new AddressSet([address]).has(other);
}

function firstOf<T>(items: readonly T[], refusalOf: (item: T) => string | null): string | null {
  for (const item of items) {
    const refusal = refusalOf(item);
    if (refusal !== null) return refusal;
  }
  return null;
}

function isTraffic(purpose: ListenerConfig["purpose"]): boolean {
  return purpose === "http" || purpose === "https" || purpose === "stream-tcp" || purpose === "stream-udp";
}
