/**
 * Discovery in Nacos: the healthy instances of each service in use, by its namespace and group, asked for every few
 * seconds. With user and password in the host it logs in each time; with `access_key` and `secret_key` questions are signed.
 *
 * Source: https://nacos.io/en/docs/open-api/ (v1: ns/instance/list, auth/login)
 */

import { createHmac } from "node:crypto";
import type { NacosDiscoveryConfig } from "../../config/discovery.ts";
import type { DiscoveredNode, Findings, Need, NodeSource } from "./node-source.ts";
import { isRecord, MAX_SERVICE_BYTES, RegistryClient } from "./registry-client.ts";
import { Rounds } from "./rounds.ts";
import { askAnyOf, type RegistryServer, serversOf } from "./server-choice.ts";

/** Questions at the same time. */
const CONCURRENCY = 8;

export class NacosSource implements NodeSource {
  readonly type = "nacos";
  readonly #config: NacosDiscoveryConfig;
  readonly #findings: Findings;
  readonly #client = new RegistryClient();
  readonly #rounds: Rounds;
  readonly #now: () => number;
  #needs: readonly Need[] = [];
  #isStarted = false;

  constructor(config: NacosDiscoveryConfig, findings: Findings, now: () => number = Date.now) {
    this.#config = config;
    this.#findings = findings;
    this.#now = now;
    this.#rounds = new Rounds({
      run: (signal) => this.#ask(signal),
      pauseMs: config.intervalMs,
      onFailure: (reason) => findings.fail(this.type, reason),
    });
  }

  watch(needs: readonly Need[]): void {
    this.#needs = needs;
    if (needs.length === 0 && !this.#isStarted) return;
    this.#isStarted = true;
    void this.#rounds.now();
  }

  refresh(): Promise<void> {
    return this.#rounds.now();
  }

  close(): void {
    this.#rounds.close();
    this.#client.close();
  }

  async #ask(signal: AbortSignal): Promise<void> {
    const needs = this.#needs;
    if (needs.length === 0) return;
    const { hosts, prefix } = this.#config;
    await askAnyOf(serversOf(hosts, prefix), (server) => this.#askServer(server, needs, signal));
  }

  /** Throws when it answers for no service; then another server is asked. */
  async #askServer(server: RegistryServer, needs: readonly Need[], signal: AbortSignal): Promise<void> {
    const token = await this.#logIn(server, signal);
    const failed = new Map<Need, Error>();
    const left = new Set(needs);
    const work = async (): Promise<void> => {
      for (const need of left) {
        left.delete(need);
        try {
          const url = this.#listUrl(server, need, token);
          const value = await this.#client.askJson({
            url,
            timeouts: this.#config.timeouts,
            maxBytes: MAX_SERVICE_BYTES,
            signal,
          });
          this.#findings.answer(need.key, nodesIn(value, this.#config.weight, need.isGrpc));
        } catch (error) {
          failed.set(need, error as Error);
        }
      }
    };
    await Promise.all(Array.from({ length: CONCURRENCY }, work));
    if (signal.aborted) return;
    if (failed.size === needs.length) throw failed.values().next().value!;
    for (const [{ key }, { message }] of failed) this.#findings.fail(this.type, message, key);
  }

  async #logIn({ base, username, password }: RegistryServer, signal: AbortSignal): Promise<string | null> {
    if (username === "" || password === "") return null;
    const url = new URL(`${base}auth/login`);
    // Not in the query: servers and proxies write those into their logs.
    const body = Buffer.from(new URLSearchParams({ username, password }).toString());
    const headers = { "content-type": "application/x-www-form-urlencoded" };
    const { timeouts } = this.#config;
    const value = await this.#client.askJson({ url, method: "POST", headers, body, timeouts, signal });
    const token = isRecord(value) ? value["accessToken"] : undefined;
    if (typeof token !== "string" || token === "")
      throw new Error(`${url.host}: a login without accessToken`);
    return token;
  }

  #listUrl({ base }: RegistryServer, need: Need, token: string | null): URL {
    const { service, namespaceId, groupName } = need;
    const { accessKey, secretKey } = this.#config;
    const url = new URL(`${base}ns/instance/list`);
    const query = url.searchParams;
    query.set("healthyOnly", "true");
    query.set("serviceName", service);
    if (token !== null) query.set("accessToken", token);
    query.set("namespaceId", namespaceId);
    query.set("groupName", groupName);
    if (accessKey !== "" && secretKey !== "") {
      const data = `${this.#now()}@@${groupName}@@${service}`;
      query.set("ak", accessKey);
      query.set("data", data);
      query.set("signature", createHmac("sha1", secretKey).update(data).digest("base64"));
    }
    return url;
  }
}

/** Throws when the answer is no list of instances. */
function nodesIn(value: unknown, defaultWeight: number, isGrpc: boolean): DiscoveredNode[] {
  const hosts = isRecord(value) ? value["hosts"] : undefined;
  if (!Array.isArray(hosts)) throw new Error("an answer without hosts");
  const nodes: DiscoveredNode[] = [];
  for (const each of hosts) {
    if (!isRecord(each) || each["enabled"] === false || each["healthy"] === false) continue;
    const metadata = isRecord(each["metadata"]) ? each["metadata"] : null;
    const grpcPort = isGrpc ? metadata?.["gRPC_port"] : undefined;
    const weight = each["weight"];
    nodes.push({
      host: typeof each["ip"] === "string" ? each["ip"] : "",
      port: Number(grpcPort ?? each["port"]),
      weight: typeof weight === "number" ? weight : defaultWeight,
      ...(metadata !== null && Object.keys(metadata).length > 0 && { metadata }),
    });
  }
  return nodes;
}
