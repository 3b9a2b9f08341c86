/**
 * Discovery in Kubernetes, in one cluster or several: `namespace/service:port` names a service, with the id of the cluster
 * before it (`id/namespace/service:port`) where there are several. The port is its name, or its number where it has none.
 */

import type { KubernetesDiscoveryConfig } from "../../../config/discovery.ts";
import type { Findings, Need, NodeSource } from "../node-source.ts";
import { RegistryClient } from "../registry-client.ts";
import { Cluster } from "./cluster.ts";

interface Place {
  cluster: Cluster;
  /** "namespace/name" */
  service: string;
  port: string;
}

export class KubernetesSource implements NodeSource {
  readonly type = "kubernetes";
  readonly #findings: Findings;
  readonly #client = new RegistryClient();
  readonly #clusters = new Map<string, Cluster>();
  #needs: readonly Need[] = [];

  constructor(configs: readonly KubernetesDiscoveryConfig[], findings: Findings) {
    this.#findings = findings;
    for (const config of configs) {
      const cluster: Cluster = new Cluster({
        config,
        client: this.#client,
        onListed: () => this.#tell(cluster, null),
        onChange: (service) => this.#tell(cluster, service),
        onQuiet: () => findings.confirm(this.type),
        onFailure: (reason) => this.#fail(cluster, reason),
      });
      this.#clusters.set(config.id, cluster);
    }
  }

  watch(needs: readonly Need[]): void {
    // Those before them were told what the cluster said when it said it: that is not said anew.
    const before = new Set(this.#needs);
    this.#needs = needs;
    for (const need of needs) {
      if (before.has(need)) continue;
      const place = this.#placeOf(need);
      if (place === null) {
        this.#findings.fail(this.type, `${need.service}: expected namespace/service:port`, need.key);
        continue;
      }
      place.cluster.start();
      const nodes = place.cluster.nodesOf(place.service, place.port);
      if (nodes !== null) this.#findings.answer(need.key, nodes);
    }
  }

  async refresh(): Promise<void> {
    await Promise.all(Array.from(this.#clusters.values(), (cluster) => cluster.refresh()));
  }

  close(): void {
    for (const cluster of this.#clusters.values()) cluster.close();
    this.#client.close();
  }

  /** `service` null: of all. */
  #tell(cluster: Cluster, service: string | null): void {
    for (const need of this.#needs) {
      const place = this.#placeOf(need);
      if (place?.cluster !== cluster || (service !== null && place.service !== service)) continue;
      this.#findings.answer(need.key, cluster.nodesOf(place.service, place.port) ?? []);
    }
  }

  #fail(cluster: Cluster, reason: string): void {
    for (const need of this.#needs) {
      if (this.#placeOf(need)?.cluster === cluster) this.#findings.fail(this.type, reason, need.key);
    }
  }

  /** Null: the name is none, or of a cluster that is not set up. */
  #placeOf({ service }: Need): Place | null {
    const single = this.#clusters.get("");
    const [, id = "", name, port] =
      (single === undefined ? /^([^/]+)\/([^/]+\/[^/:]+):([^/:]+)$/ : /^()([^/]+\/[^/:]+):([^/:]+)$/).exec(
        service,
      ) ?? [];
    const cluster = this.#clusters.get(id);
    return cluster === undefined || name === undefined ? null : { cluster, service: name, port };
  }
}
