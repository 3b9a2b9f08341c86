/**
 * Discovery in Consul's catalogue: the instances of a service that pass all their checks. Only services that some upstream
 * names are fetched.
 *
 * Source: https://developer.hashicorp.com/consul/api-docs/health#list-nodes-for-service
 */

import type { ConsulDiscoveryConfig } from "../../../config/discovery.ts";
import type { DiscoveredNode, Findings, Need, NodeSource } from "../node-source.ts";
import { isRecord, RegistryClient } from "../registry-client.ts";
import { ServerLists } from "./server-lists.ts";
import { ConsulServer } from "./server.ts";

/** One moves when services or instances come and go, the other when checks pass or fail. */
const WATCHED = ["catalog/services", "health/state/any"];
/** Questions to a server at the same time. */
const CONCURRENCY = 8;
const DEFAULT_PORT = 80;
/** Consul itself, as in APISIX. */
const ALWAYS_SKIPPED = "consul";

export class ConsulSource implements NodeSource {
  readonly type = "consul";
  readonly #config: ConsulDiscoveryConfig;
  readonly #findings: Findings;
  readonly #client = new RegistryClient();
  readonly #servers: ConsulServer[];
  readonly #lists = new ServerLists();
  #needs: readonly Need[] = [];
  #isStarted = false;

  constructor(config: ConsulDiscoveryConfig, findings: Findings) {
    this.#config = config;
    this.#findings = findings;
    this.#servers = config.servers.map(
      (server) =>
        new ConsulServer({
          server,
          watched: WATCHED,
          config,
          client: this.#client,
          fetch: (each, signal) => this.#fetch(each, signal),
          onFailure: (failed, reason) => this.#fail(failed, reason),
          onQuiet: () => this.#findings.confirm(this.type),
        }),
    );
  }

  watch(needs: readonly Need[]): void {
    this.#needs = needs;
    if (needs.length === 0 && !this.#isStarted) return;
    for (const server of this.#servers) {
      if (this.#isStarted) void server.refresh();
      else server.start();
    }
    this.#isStarted = true;
  }

  async refresh(): Promise<void> {
    await Promise.all(this.#servers.map((server) => server.refresh()));
  }

  close(): void {
    for (const server of this.#servers) server.close();
    this.#client.close();
  }

  /** A service that cannot be read keeps what this server listed before; throws when none can. */
  async #fetch(server: ConsulServer, signal: AbortSignal): Promise<void> {
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
          services.set(service, nodesIn(await server.get(path, signal), this.#config.weight));
        } catch (error) {
          failed.set(service, error as Error);
          services.set(service, this.#lists.of(server.server, service));
        }
      }
    };
    await Promise.all(Array.from({ length: CONCURRENCY }, work));
    if (signal.aborted) return;
    if (failed.size > 0 && failed.size === asked) throw failed.values().next().value!;
    this.#lists.answered(server.server, services);
    for (const { key, service } of needs) {
      const error = failed.get(service);
      if (error !== undefined) this.#findings.fail(this.type, error.message, key);
    }
    this.#tell(needs.filter(({ service }) => !failed.has(service)));
  }

  #isSkipped(service: string): boolean {
    return service === ALWAYS_SKIPPED || this.#config.skipped.includes(service);
  }

  #fail(server: string, reason: string): void {
    const isNew = this.#lists.failed(server);
    if (!this.#lists.isFresh) this.#findings.fail(this.type, reason);
    else if (isNew) this.#findings.failPartly(this.type, reason);
  }

  #tell(needs: readonly Need[]): void {
    for (const { key, service } of needs) {
      const nodes = this.#lists.nodesOf(service, this.#config.sort);
      if (nodes !== null) this.#findings.answer(key, nodes);
    }
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
    nodes.push({ host, port: typeof port === "number" && port !== 0 ? port : DEFAULT_PORT, weight });
  }
  if (nodes.length === 0 && value.length > 0) throw new Error("instances without addresses");
  return nodes;
}
