/**
 * Makes clients of the library for each kind of Redis. The library is loaded when the first limit needs it, so that
 * workers without such limits do not carry it.
 *
 * Clients speak RESP2 and send nothing but AUTH, SELECT and the scripts, so old servers and narrow ACLs will do. A
 * command fails at once while there is no connection: waiting is decided by `redis-connection.ts`.
 */

import type { RedisSettings } from "./redis-settings.ts";

/** What the three kinds of client have in common. */
export interface RedisClient {
  connect(): Promise<unknown>;
  close(): Promise<unknown>;
  destroy(): unknown;
  on(event: "error", listener: (error: unknown) => void): unknown;
  evalSha(sha: string, options: ScriptCall): Promise<unknown>;
  eval(script: string, options: ScriptCall): Promise<unknown>;
}

export interface ScriptCall {
  keys: string[];
  arguments: string[];
}

/** Commands that wait for an answer of one server; more fail at once. */
const MAX_WAITING = 20_000;

const MIN_RECONNECT_MS = 50;
const MAX_RECONNECT_MS = 2000;

/** Not connected yet. */
export async function createRedisClient(settings: RedisSettings): Promise<RedisClient> {
  const redis = await import("@redis/client");
  if (settings.policy === "redis") return redis.createClient(singleOptions(settings));
  if (settings.policy === "redis-cluster") return redis.createCluster(clusterOptions(settings));
  return redis.createSentinel(sentinelOptions(settings));
}

function singleOptions(settings: SettingsOf<"redis">) {
  return {
    RESP,
    ...NARROW,
    ...credentials(settings.redis_username, settings.redis_password),
    database: settings.redis_database,
    socket: {
      host: settings.redis_host,
      port: settings.redis_port,
      ...socketOptions(settings.redis_timeout),
      ...tlsOptions(settings.redis_ssl, settings.redis_ssl_verify, settings.redis_host),
    },
  };
}

function clusterOptions(settings: SettingsOf<"redis-cluster">) {
  return {
    RESP,
    rootNodes: settings.redis_cluster_nodes.map((node) => ({ socket: addressOf(node) })),
    defaults: {
      ...NARROW,
      ...credentials(undefined, settings.redis_password),
      socket: {
        ...socketOptions(settings.redis_timeout),
        ...tlsOptions(settings.redis_cluster_ssl, settings.redis_cluster_ssl_verify, undefined),
      },
    },
  };
}

function sentinelOptions(settings: SettingsOf<"redis-sentinel">) {
  const socket = socketOptions(settings.redis_connect_timeout);
  return {
    RESP,
    name: settings.redis_master_name,
    sentinelRootNodes: settings.redis_sentinels,
    nodeClientOptions: {
      ...NARROW,
      ...credentials(settings.redis_username, settings.redis_password),
      database: settings.redis_database,
      socket,
    },
    sentinelClientOptions: {
      ...NARROW,
      ...credentials(settings.sentinel_username, settings.sentinel_password),
      socket,
    },
  };
}

type SettingsOf<Policy extends RedisSettings["policy"]> = Extract<RedisSettings, { policy: Policy }>;

const RESP = 2 as const;

const NARROW = {
  disableOfflineQueue: true,
  disableClientInfo: true,
  maintNotifications: "disabled",
  commandsQueueMaxLength: MAX_WAITING,
} as const;

/** An empty password is none. */
function credentials(username: string | undefined, password: string | undefined): object {
  return password === undefined || password === "" ? {} : { username, password };
}

function socketOptions(connectTimeoutMs: number) {
  return {
    connectTimeout: connectTimeoutMs,
    reconnectStrategy: (retries: number) =>
      Math.min(MAX_RECONNECT_MS, MIN_RECONNECT_MS * 2 ** Math.min(retries, 10)),
  };
}

function tlsOptions(isUsed: boolean, isVerified: boolean, servername: string | undefined): object {
  return isUsed ? { tls: true, rejectUnauthorized: isVerified, servername } : {};
}

function addressOf(node: string): { host: string; port: number } {
  const colon = node.lastIndexOf(":");
  return { host: node.slice(0, colon).replace(/^\[|\]$/g, ""), port: Number(node.slice(colon + 1)) };
}
