/** The store that the static configuration asks for, opened. */

import { join } from "node:path";
import type { StaticConfig } from "../config/static-config.ts";
import type { Log } from "../lib/log.ts";
import {
  isObject,
  type JsonObject,
  type ModelContext,
  type PluginCatalog,
  refused,
  type ResourceType,
} from "../model/resource-type.ts";
import { RESOURCE_TYPES } from "../model/resources.ts";
import { validateResource } from "../model/validate.ts";
import { DocumentStore } from "../store/api/store.ts";
import type { Store } from "../store/contract.ts";
import type { ConnectorConfig } from "../store/etcd/channel.ts";
import type { EtcdConnector } from "../store/etcd/connection.ts";
import { isBusy } from "../store/embedded/database.ts";
import { EmbeddedStore } from "../store/embedded/store.ts";
import { openSecret, SealedFile } from "../store/snapshot/sealed-file.ts";
import type { ItemCheck } from "../store/file/document.ts";
import { FileStore } from "../store/file/store.ts";
import type { SnapshotPlace } from "./control.ts";
import { addressOf } from "./keys.ts";
import { redacted } from "./redact.ts";

const OPEN_ATTEMPTS = 50;
const OPEN_RETRY_MS = 100;

export async function openStore(
  config: StaticConfig["store"],
  dataFolder: string,
  plugins: PluginCatalog,
  log: Log,
  /** To an etcd; null: this thread has a connection of its own. */
  link: EtcdConnector | null = null,
): Promise<Store> {
  if (config.type === "file") {
    const { file, format } = config;
    return new FileStore({ file, format, env: process.env, check: itemCheck(plugins), log });
  }
  if (config.type === "etcd") {
    // Nodes without one have no use for gRPC.
    const { EtcdStore } = await import("../store/etcd/store.ts");
    return new EtcdStore({ ...config, connector: link ?? (await directConnector(config)), log });
  }
  if (config.type === "api") {
    return await DocumentStore.open({ file: sealedFile(dataFolder, "configs"), log });
  }
  const { type: _, ...bounds } = config;
  // The file may be locked for a moment by a process that is being replaced.
  for (let attempt = 1; ; attempt++) {
    try {
      return new EmbeddedStore({ file: join(dataFolder, "store.db"), ...bounds });
    } catch (error) {
      if (!isBusy(error) || attempt === OPEN_ATTEMPTS) throw error;
      await new Promise((resolve) => setTimeout(resolve, OPEN_RETRY_MS));
    }
  }
}

async function directConnector(config: ConnectorConfig): Promise<EtcdConnector> {
  const { DirectConnector } = await import("../store/etcd/channel.ts");
  return new DirectConnector(config);
}

/** Where the node keeps its last good configuration; null: nowhere. */
export function snapshotPlace(
  config: Pick<StaticConfig, "store" | "survival">,
  dataFolder: string,
): SnapshotPlace | null {
  const { hasSnapshot, snapshotIntervalMs: intervalMs } = config.survival;
  if (!hasSnapshot) return null;
  return { file: sealedFile(dataFolder, "snapshot"), source: sourceOf(config.store), intervalMs };
}

function sealedFile(dataFolder: string, name: string): SealedFile {
  return new SealedFile(join(dataFolder, name), openSecret(join(dataFolder, "snapshot.key")), name);
}

/** The same content comes from the same source: the members of a cluster change, its prefix does not. */
function sourceOf(store: StaticConfig["store"]): string {
  switch (store.type) {
    case "file":
      return `file ${store.file}`;
    case "etcd":
      return `etcd ${store.prefix}`;
    default:
      return store.type;
  }
}

/** Whether an item is valid, and what it refers to is there. What is said about it goes into the log and repeats no secret. */
export function itemCheck(plugins: PluginCatalog): ItemCheck {
  const types = new Map(RESOURCE_TYPES.map((type) => [type.plural, type]));
  return (key, value, get) => {
    const address = addressOf(key, types);
    if (address === null) return refused("no resource can have this id", "/id");
    const { type, id, parent } = address;
    if (parent !== null && get(`/${type.parent}/${parent}`) === undefined) {
      return refused(`the resource that it belongs to is missing: ${type.parent} ${parent}`, "/id");
    }
    const context: ModelContext = { plugins, get: (plural, other) => get(`/${plural}/${other}`) };
    if (parent !== null) context.parentId = parent;
    const fault = validateResource(type, value, context, id);
    if (fault === null || !hasSecrets(type, value, plugins)) return fault;
    return refused(redacted(fault.message, value, fault.pointer), fault.pointer);
  };
}

function hasSecrets(type: ResourceType, { plugins: own }: JsonObject, plugins: PluginCatalog): boolean {
  if (type.privateKeys !== undefined) return true;
  return isObject(own) && Object.keys(own).some((name) => plugins.get(name)?.encrypted !== undefined);
}
