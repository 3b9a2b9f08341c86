/**
 * What a node is (`deployment.role`): whether it has an Admin API, whether it carries traffic, and where its
 * resources come from.
 *
 *     role            config_provider   Admin API   traffic   resources
 *     traditional     etcd (default)    yes         yes       an etcd, or without one the embedded store
 *     traditional     yaml              /configs    yes       one document, put through the Admin API
 *     traditional     yaml, no admin    no          yes       apisix.yaml
 *     control_plane   etcd              yes         no        an etcd
 *     data_plane      etcd              no          yes       an etcd
 *     data_plane      yaml, json        no          yes       apisix.yaml, apisix.json
 */

import { resolve } from "node:path";
import { etcdStore, warnWithoutSharedKey } from "./etcd.ts";
import type { ResolveInput } from "./resolve.ts";
import type { ConfigFile } from "./schema.ts";
import type { FileStoreConfig, StoreConfig, SurvivalConfig } from "./static-config.ts";

type RoleKey = "role_traditional" | "role_control_plane" | "role_data_plane";

export function hasAdmin({ apisix, deployment }: ConfigFile): boolean {
  if (deployment.role === "control_plane") return true;
  return apisix.enable_admin && deployment.role !== "data_plane";
}

/** A control plane only writes. */
export function hasTraffic({ deployment }: ConfigFile): boolean {
  return deployment.role !== "control_plane";
}

export function store(input: ResolveInput): StoreConfig {
  const found = storeOfRole(input);
  if (found.type !== "etcd" && input.given.deployment?.etcd !== undefined) {
    input.addWarning("deployment.etcd is not used: the resources of this node are not in an etcd");
  }
  return found;
}

function storeOfRole(input: ResolveInput): StoreConfig {
  const { filled, addProblem } = input;
  const { role, role_traditional: traditional, role_data_plane: dataPlane } = filled.deployment;
  const provider = role === "data_plane" ? dataPlane.config_provider : traditional.config_provider;
  if (role === "control_plane") return sharedStore(input, "role_control_plane");
  if (role === "traditional" && provider === "yaml" && hasAdmin(filled)) {
    refuseFile(input, "with deployment.role data_plane only: here the Admin API brings the resources");
    return { type: "api" };
  }
  if (provider === "yaml" || provider === "json") return fileStore(input, provider);
  if (role === "data_plane") {
    if (provider !== undefined) return sharedStore(input, "role_data_plane");
    const message = "given nothing, expected etcd, yaml or json";
    addProblem(["deployment", "role_data_plane", "config_provider"], message);
    return { type: "embedded", historyRevisions: 0, historyDays: 0, historyBytes: 0 };
  }
  refuseFile(input, "where config_provider is yaml or json only");
  return sharedStore(input, "role_traditional");
}

export function survival({ filled, given }: ResolveInput, { type }: StoreConfig): SurvivalConfig {
  const { snapshot_interval: snapshotIntervalMs, max_age: maxAgeMs } = filled.cardea.store;
  // The embedded store and the document are on this machine's disk already.
  const isOptional = type === "file";
  const isOwn = type === "embedded" || type === "api";
  return {
    hasSnapshot: !isOwn && (given.cardea?.store?.snapshot ?? !isOptional),
    snapshotIntervalMs,
    maxAgeMs,
  };
}

/** A store that several nodes may share; a node by itself does with the embedded one. */
function sharedStore(input: ResolveInput, place: RoleKey): StoreConfig {
  if (place !== "role_traditional" || input.given.deployment?.etcd !== undefined) {
    if (hasAdmin(input.filled)) warnWithoutSharedKey(input);
    return etcdStore(input);
  }
  const {
    history_revisions: historyRevisions,
    history_days: historyDays,
    history_size: historyBytes,
  } = input.filled.cardea.store;
  return { type: "embedded", historyRevisions, historyDays, historyBytes };
}

function fileStore({ filled, folder }: ResolveInput, format: "yaml" | "json"): FileStoreConfig {
  const { file } = filled.cardea.store;
  return { type: "file", format, file: resolve(folder, file ?? `apisix.${format}`) };
}

function refuseFile({ filled, addProblem }: ResolveInput, expectation: string): void {
  if (filled.cardea.store.file === undefined) return;
  addProblem(["cardea", "store", "file"], `given a file, expected it ${expectation}`);
}
