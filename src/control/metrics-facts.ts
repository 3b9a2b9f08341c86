/** What only control knows of the metrics page: store, revisions, quarantine. */

import { hostname } from "node:os";
import type { FactFamily, FactSample, MetricsFacts } from "./fact-families.ts";
import { VERSION } from "../lib/version.ts";
import { FileStore } from "../store/file/store.ts";
import { CertificateExpiry } from "./certificates/expiry.ts";
import type { Control } from "./control.ts";

/** Resource types that APISIX's `etcd_modify_indexes` names. */
const INDEXED = [
  "consumers",
  "global_rules",
  "protos",
  "routes",
  "services",
  "ssls",
  "stream_routes",
  "upstreams",
] as const;

const expiry = new CertificateExpiry();

export function metricsFacts(control: Control, prefix: string): MetricsFacts {
  const { store, state, feed, publisher, certificates } = control;
  const isReachable = store.contact().isReachable ? 1 : 0;
  const ageMs = control.ageMs();
  const families = [
    gauge(
      "quarantined_resources",
      "Resources in the store that are not in service",
      [...state.quarantined()].length,
    ),
    gauge("store_revision", "Revision of the configuration store that this node holds", feed.revision),
    gauge("published_revision", "Newest configuration revision of this node", publisher.revision),
    gauge(
      "config_applied_revision",
      "Newest configuration revision that every worker of this node serves",
      control.appliedRevision,
    ),
    gauge("store_reachable", "Whether the configuration store answers", isReachable),
    gauge("etcd_reachable", "Whether the configuration store answers", isReachable),
    indexes((plural) => state.newestRevision(plural), feed.revision),
    ...expiry.families(state, Date.now(), (id) => certificates.shownOf(id)),
    ...certificates.families(),
  ];
  if (ageMs !== null) {
    const help = "Time for which the store has not confirmed that the configuration in service is its newest";
    families.push(gauge("config_age_seconds", help, ageMs / 1000));
  }
  if (store instanceof FileStore) {
    const isRefused = store.isRefusing ? 1 : 0;
    families.push(
      gauge(
        "configuration_file_refused",
        "1 while the configuration file is one that cannot be used",
        isRefused,
      ),
    );
  }
  return { prefix, hostname: hostname(), version: VERSION, families };
}

/** The names are APISIX's; the store is whatever this node has. */
function indexes(newestOf: (plural: string) => number, revision: number): FactFamily {
  const samples: FactSample[] = [];
  let newest = 0;
  for (const key of INDEXED) {
    const value = newestOf(key);
    newest = Math.max(newest, value);
    samples.push({ labels: { key }, value });
  }
  samples.push({ labels: { key: "max_modify_index" }, value: newest });
  samples.push({ labels: { key: "prev_index" }, value: revision });
  samples.push({ labels: { key: "x_etcd_index" }, value: revision });
  return {
    name: "etcd_modify_indexes",
    type: "gauge",
    help: "Newest revision of each kind of resource",
    samples,
  };
}

function gauge(name: string, help: string, value: number): FactFamily {
  return { name, type: "gauge", help, samples: [{ value }] };
}
