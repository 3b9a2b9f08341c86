/**
 * Discovery among the keys of Consul: `<prefix>/<service>/<ip>:<port>` with `{"weight": 1}` as value. The name of the
 * service is the whole key up to the node, with the server before it, as in APISIX
 * (`http://127.0.0.1:8500/v1/kv/upstreams/webpages/`), or its short form `webpages`.
 *
 * Source: https://developer.hashicorp.com/consul/api-docs/kv#read-key
 */

import type { ConsulDiscoveryConfig } from "../../../config/discovery.ts";
import type { DiscoveredNode, Findings, Need, NodeSource } from "../node-source.ts";
import { isRecord, RegistryClient } from "../registry-client.ts";
import { ServerLists } from "./server-lists.ts";
import { ConsulServer } from "./server.ts";

/** In a key below the prefix: what is before the last slash, and the node. */
const NODE_KEY = /^(.*\/)([a-zA-Z0-9.-]+|\[[0-9a-fA-F:.]+\]):(\d{1,5})$/;

export class ConsulKvSource implements NodeSource {
  readonly type = "consul_kv";
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
          watched: [keysPath(config.prefix)],
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
    if (this.#isStarted) {
      this.#tell();
      return;
    }
    if (needs.length === 0) return;
    this.#isStarted = true;
    for (const server of this.#servers) server.start();
  }

  async refresh(): Promise<void> {
    await Promise.all(this.#servers.map((server) => server.refresh()));
  }

  close(): void {
    for (const server of this.#servers) server.close();
    this.#client.close();
  }

  async #fetch(server: ConsulServer, signal: AbortSignal): Promise<void> {
    const value = (await server.get(keysPath(this.#config.prefix), signal)) ?? [];
    if (!Array.isArray(value)) throw new Error("an answer that is no list of keys");
    const services = new Map<string, DiscoveredNode[]>();
    for (const entry of value) this.#take(entry, server.server, services);
    this.#lists.answered(server.server, services);
    this.#tell();
  }

  #take(entry: unknown, server: string, services: Map<string, DiscoveredNode[]>): void {
    const key = isRecord(entry) ? entry["Key"] : undefined;
    if (typeof key !== "string" || !isRecord(entry)) return;
    const { prefix, skipped, weight } = this.#config;
    const start = `${prefix}/`;
    const [, folder, host, port] = NODE_KEY.exec(key) ?? [];
    if (folder === undefined || !folder.startsWith(start) || folder === start) return;
    if (skipped.some((each) => each === folder || `${each}/` === folder)) return;
    const settings = settingsIn(entry["Value"]);
    if (settings === null || String(settings["check_status"]) === "false") return;
    const own = settings["weight"];
    const node = { host, port: Number(port), weight: typeof own === "number" ? own : weight };
    const short = folder.slice(start.length, -1);
    for (const name of [`${server}/v1/kv/${folder}`, short]) {
      const nodes = services.get(name);
      if (nodes === undefined) services.set(name, [node]);
      else nodes.push(node);
    }
  }

  #fail(server: string, reason: string): void {
    const isNew = this.#lists.failed(server);
    if (!this.#lists.isFresh) this.#findings.fail(this.type, reason);
    else if (isNew) this.#findings.failPartly(this.type, reason);
  }

  #tell(): void {
    for (const { key, service } of this.#needs) {
      const nodes = this.#lists.nodesOf(service, this.#config.sort);
      if (nodes !== null) this.#findings.answer(key, nodes);
    }
  }
}

function keysPath(prefix: string): string {
  return `kv/${prefix.split("/").map(encodeURIComponent).join("/")}?recurse=true`;
}

/** Of a value in Base64; null: none, or it is not JSON. */
function settingsIn(value: unknown): Record<string, unknown> | null {
  if (typeof value !== "string") return null;
  try {
    const settings: unknown = JSON.parse(Buffer.from(value, "base64").toString("utf8"));
    return isRecord(settings) ? settings : null;
  } catch {
    // As in APISIX, a key without settings is no node.
    return null;
  }
}
