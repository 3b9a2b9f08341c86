/**
 * Discovery in Consul's catalogue: the instances of a service that pass all their checks. Only services that some upstream
 * names are fetched.
 *
 * Source: https://developer.hashicorp.com/consul/api-docs/health#list-nodes-for-service
 */

import type { ConsulDiscoveryConfig } from "../../../config/discovery.ts";
import type { DiscoveredNode, Findings, Need, NodeSource } from "../node-source.ts";
import { isRecord, MAX_SERVICE_BYTES } from "../registry-client.ts";
import type { ConsulServer } from "./server.ts";
import { ConsulServers } from "./servers.ts";

/** One moves when services or instances come and go, the other when checks pass or fail. */
const WATCHED = ["catalog/services", "health/state/any"];
/** Questions to a server at the same time. */
const CONCURRENCY = 8;
const DEFAULT_PORT = 80;
/** Consul itself, as in APISIX. */
const ALWAYS_SKIPPED = "consul";
/** In a path these are steps, and another one would be asked for. */
const DOTS = /^\.\.?$/;

export class ConsulSource implements NodeSource {
  readonly type = "consul";
  readonly #config: ConsulDiscoveryConfig;
  readonly #findings: Findings;
  readonly #servers: ConsulServers;
  #needs: readonly Need[] = [];

  constructor(config: ConsulDiscoveryConfig, findings: Findings) {
    this.#config = config;
    this.#findings = findings;
    const fetch = (server: ConsulServer, signal: AbortSignal) => this.#fetch(server, signal);
    this.#servers = new ConsulServers({ type: this.type, config, findings, watched: WATCHED, fetch });
  }

  watch(needs: readonly Need[]): void {
    this.#needs = needs;
    if (this.#servers.isStarted) void this.#servers.refresh();
    else if (needs.length > 0) this.#servers.start();
  }

  refresh(): Promise<void> {
    return this.#servers.refresh();
  }

  close(): void {
    this.#servers.close();
  }

  /** A service that cannot be read keeps what this server listed before; throws when none can. */
  async #fetch(server: ConsulServer, signal: AbortSignal): Promise<number> {
    const needs = this.#needs;
    const services = new Map<string, readonly DiscoveredNode[]>();
    const failed = new Map<string, Error>();
    const left = new Set(needs.map(({ service }) => service).filter((name) => !this.#isSkipped(name)));
    const asked = left.size;
    const work = async (): Promise<void> => {
      for (const service of left) {
        left.delete(service);
        const path = `health/service/${encodeURIComponent(service)}?passing=true`;
        try {
          services.set(
            service,
            nodesIn(await server.get(path, signal, MAX_SERVICE_BYTES), this.#config.weight),
          );
        } catch (error) {
          failed.set(service, error as Error);
          services.set(service, this.#servers.lists.of(server.server, service));
        }
      }
    };
    await Promise.all(Array.from({ length: CONCURRENCY }, work));
    if (signal.aborted) return asked;
    if (failed.size > 0 && failed.size === asked) throw failed.values().next().value!;
    this.#servers.lists.answered(server.server, services);
    for (const { key, service } of needs) {
      const error = failed.get(service);
      if (error !== undefined) this.#findings.fail(this.type, error.message, key);
    }
    this.#servers.tell(needs.filter(({ service }) => !failed.has(service)));
    return asked;
  }

  #isSkipped(service: string): boolean {
    return service === ALWAYS_SKIPPED || DOTS.test(service) || this.#config.skipped.includes(service);
  }
}

/** Throws when the answer is no list of instances. */
function nodesIn(value: unknown, weight: number): DiscoveredNode[] {
  if (!Array.isArray(value)) throw new Error("an answer that is no list of instances");
  const nodes: DiscoveredNode[] = [];
  for (const entry of value) {
    const service = isRecord(entry) ? entry["Service"] : undefined;
    if (!isRecord(service)) continue;
    const node = isRecord(entry) ? entry["Node"] : undefined;
    // An instance without an address has that of its machine.
    const own = service["Address"];
    const host = typeof own === "string" && own !== "" ? own : isRecord(node) ? node["Address"] : undefined;
    const port = service["Port"];
    if (typeof host !== "string") continue;
    // 0 is Consul's word for none. What is no number is no port, and not that one either.
    const isNone = port === undefined || port === null || port === 0;
    nodes.push({ host, port: isNone ? DEFAULT_PORT : typeof port === "number" ? port : Number.NaN, weight });
  }
  if (nodes.length === 0 && value.length > 0) throw new Error("instances without addresses");
  return nodes;
}
