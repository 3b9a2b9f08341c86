/**
 * Discovery among the keys of Consul: `<prefix>/<service>/<ip>:<port>` with `{"weight": 1}` as value. The name of the
 * service is the whole key up to the node, with the server before it, as in APISIX
 * (`http://127.0.0.1:8500/v1/kv/upstreams/webpages/`), or its short form `webpages`.
 *
 * Source: https://developer.hashicorp.com/consul/api-docs/kv#read-key
 */

import type { ConsulDiscoveryConfig } from "../../../config/discovery.ts";
import type { DiscoveredNode, Findings, Need, NodeSource } from "../node-source.ts";
import { isRecord } from "../registry-client.ts";
import type { ConsulServer } from "./server.ts";
import { ConsulServers } from "./servers.ts";

/** In a key below the prefix: what is before the last slash, and the node. */
const NODE_KEY = /^(.*\/)([a-zA-Z0-9.-]+|\[[0-9a-fA-F:.]+\]):(\d{1,5})$/;

export class ConsulKvSource implements NodeSource {
  readonly type = "consul_kv";
  readonly #config: ConsulDiscoveryConfig;
  readonly #servers: ConsulServers;
  #needs: readonly Need[] = [];

  constructor(config: ConsulDiscoveryConfig, findings: Findings) {
    this.#config = config;
    const watched = [keysPath(config.prefix)];
    const fetch = (server: ConsulServer, signal: AbortSignal) => this.#fetch(server, signal);
    this.#servers = new ConsulServers({ type: this.type, config, findings, watched, fetch });
  }

  watch(needs: readonly Need[]): void {
    // Those before them were told what it said when it said it: that is not said anew.
    const before = new Set(this.#needs);
    this.#needs = needs;
    if (this.#servers.isStarted) this.#servers.tell(needs.filter((need) => !before.has(need)));
    else if (needs.length > 0) this.#servers.start();
  }

  refresh(): Promise<void> {
    return this.#servers.refresh();
  }

  close(): void {
    this.#servers.close();
  }

  async #fetch(server: ConsulServer, signal: AbortSignal): Promise<number> {
    const value = (await server.get(keysPath(this.#config.prefix), signal)) ?? [];
    if (!Array.isArray(value)) throw new Error("an answer that is no list of keys");
    const services = new Map<string, DiscoveredNode[]>();
    for (const entry of value) this.#take(entry, server.server, services);
    this.#servers.lists.answered(server.server, services);
    this.#servers.tell(this.#needs);
    return 1;
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
