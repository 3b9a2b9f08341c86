/**
 * Discovery in Eureka: all applications are asked for every few seconds, and of each the instances that are UP count.
 * Certificates of its servers are not verified, as in APISIX.
 *
 * Source: https://github.com/Netflix/eureka/wiki/Eureka-REST-operations
 */

import type { EurekaDiscoveryConfig } from "../../config/discovery.ts";
import type { DiscoveredNode, Findings, Need, NodeSource } from "./node-source.ts";
import { isRecord, RegistryClient } from "./registry-client.ts";
import { Rounds } from "./rounds.ts";
import { askAnyOf, serversOf } from "./server-choice.ts";

type Applications = Map<string, DiscoveredNode[]>;

export class EurekaSource implements NodeSource {
  readonly type = "eureka";
  readonly #config: EurekaDiscoveryConfig;
  readonly #findings: Findings;
  readonly #client = new RegistryClient();
  readonly #rounds: Rounds;
  #needs: readonly Need[] = [];
  #known: Applications | null = null;
  #isStarted = false;

  constructor(config: EurekaDiscoveryConfig, findings: Findings) {
    this.#config = config;
    this.#findings = findings;
    this.#rounds = new Rounds({
      run: (signal) => this.#ask(signal),
      pauseMs: config.intervalMs,
      onFailure: (reason) => findings.fail(this.type, reason),
    });
  }

  watch(needs: readonly Need[]): void {
    // Those before them were told what it said when it said it: that is not said anew.
    const before = new Set(this.#needs);
    this.#needs = needs;
    const added = needs.filter((need) => !before.has(need));
    if (this.#known !== null) this.#tell(this.#known, added);
    if (this.#isStarted || needs.length === 0) return;
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
    const { hosts, prefix, timeouts, weight } = this.#config;
    const applications = await askAnyOf(serversOf(hosts, prefix), async ({ base, authorization }) => {
      const url = new URL(`${base}apps`);
      const headers: Record<string, string> = authorization === undefined ? {} : { authorization };
      const value = await this.#client.askJson({ url, headers, timeouts, isVerified: false, signal });
      return applicationsIn(value, weight);
    });
    this.#known = applications;
    this.#tell(applications, this.#needs);
  }

  #tell(applications: Applications, needs: readonly Need[]): void {
    for (const { key, service } of needs) this.#findings.answer(key, applications.get(service) ?? []);
  }
}

/** Throws when the answer is none of Eureka. */
function applicationsIn(value: unknown, weight: number): Applications {
  const root = isRecord(value) ? value["applications"] : undefined;
  if (!isRecord(root)) throw new Error("an answer without applications");
  const known: Applications = new Map();
  for (const application of listOf(root["application"])) {
    if (!isRecord(application) || typeof application["name"] !== "string") continue;
    const nodes: DiscoveredNode[] = [];
    for (const instance of listOf(application["instance"])) {
      const node = isRecord(instance) ? nodeOf(instance, weight) : null;
      if (node !== null) nodes.push(node);
    }
    known.set(application["name"], nodes);
  }
  return known;
}

/** Some servers write a list of one as the one. */
function listOf(value: unknown): unknown[] {
  if (value === undefined || value === null) return [];
  return Array.isArray(value) ? value : [value];
}

/** Null: it is not UP, or has no port. */
function nodeOf(instance: Record<string, unknown>, defaultWeight: number): DiscoveredNode | null {
  const overridden = instance["overriddenstatus"] ?? instance["overriddenStatus"] ?? "UNKNOWN";
  const status = overridden === "UNKNOWN" ? instance["status"] : overridden;
  if (status !== "UP") return null;
  const port = enabledPort(instance["securePort"]) ?? enabledPort(instance["port"]);
  const host = instance["ipAddr"];
  if (port === null || typeof host !== "string") return null;
  const told = isRecord(instance["metadata"]) ? instance["metadata"] : null;
  const { weight: own, ...metadata } = told ?? {};
  // People write these: one that is none must not take the instance out.
  const given = typeof own === "string" && own.trim() !== "" ? Number(own) : own;
  const weight = typeof given === "number" && given >= 0 && Number.isFinite(given) ? given : defaultWeight;
  return { host, port, weight, ...(told !== null && { metadata }) };
}

function enabledPort(value: unknown): number | null {
  if (!isRecord(value) || String(value["@enabled"]) !== "true") return null;
  const port = Number(value["$"]);
  return Number.isInteger(port) && port > 0 ? port : null;
}
