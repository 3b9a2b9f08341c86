/**
 * How a limit reaches its Redis: the fields of each policy, and the conditions that put them into a plugin's schema.
 * Names, bounds and defaults are those of APISIX.
 */

import { Type, type Static } from "../../plugin/index.ts";
import { oneOf } from "../../plugin/schema.ts";
import { contentHash } from "../../lib/content-hash.ts";

const password = Type.Optional(Type.String({ description: "Password of Redis" }));
const timeout = Type.Integer({
  minimum: 1,
  default: 1000,
  description: "Milliseconds to wait for a connection and for an answer",
});
const keepalive = {
  redis_keepalive_timeout: Type.Integer({
    minimum: 1000,
    default: 10_000,
    description: "Accepted for APISIX; each worker keeps one connection open and sends many commands on it",
  }),
  redis_keepalive_pool: Type.Integer({
    minimum: 1,
    default: 100,
    description: "Accepted for APISIX; see redis_keepalive_timeout",
  }),
};

const Single = Type.Object({
  redis_host: Type.String({ minLength: 2, description: "Name or address of Redis" }),
  redis_port: Type.Integer({ minimum: 1, default: 6379, description: "Its port" }),
  redis_username: Type.Optional(Type.String({ minLength: 1, description: "User of Redis ACLs" })),
  redis_password: password,
  redis_database: Type.Integer({ minimum: 0, default: 0, description: "Number of the database" }),
  redis_timeout: timeout,
  redis_ssl: Type.Boolean({ default: false, description: "Connect with TLS" }),
  redis_ssl_verify: Type.Boolean({ default: false, description: "Verify Redis's certificate" }),
  ...keepalive,
});

const Cluster = Type.Object({
  redis_cluster_nodes: Type.Array(Type.String({ minLength: 2, maxLength: 100 }), {
    minItems: 1,
    description: "host:port of some nodes; the others are learnt from them",
  }),
  redis_cluster_name: Type.String({ description: "Accepted for APISIX; a name for the cluster" }),
  redis_password: password,
  redis_timeout: timeout,
  redis_cluster_ssl: Type.Boolean({ default: false, description: "Connect with TLS" }),
  redis_cluster_ssl_verify: Type.Boolean({ default: false, description: "Verify the nodes' certificates" }),
  ...keepalive,
});

const Sentinel = Type.Object({
  redis_sentinels: Type.Array(
    Type.Object(
      { host: Type.String({ minLength: 2 }), port: Type.Integer({ minimum: 1, maximum: 65_535 }) },
      { additionalProperties: false },
    ),
    { minItems: 1, description: "Addresses of the sentinels" },
  ),
  redis_master_name: Type.String({ minLength: 1, description: "Name of the master group" }),
  redis_role: oneOf(["master", "slave"], {
    default: "master",
    description: "Only master: counters are written, which a slave refuses",
  }),
  redis_connect_timeout: Type.Integer({
    minimum: 1,
    default: 1000,
    description: "Milliseconds to wait for a connection",
  }),
  redis_read_timeout: Type.Integer({
    minimum: 1,
    default: 1000,
    description: "Milliseconds to wait for an answer",
  }),
  redis_keepalive_timeout: Type.Integer({
    minimum: 1,
    default: 60_000,
    description: "Accepted for APISIX; each worker keeps one connection open",
  }),
  redis_database: Type.Integer({ minimum: 0, default: 0, description: "Number of the database" }),
  redis_username: Type.Optional(Type.String({ minLength: 1, description: "User of Redis ACLs" })),
  redis_password: password,
  sentinel_username: Type.Optional(Type.String({ minLength: 1, description: "User of the sentinels" })),
  sentinel_password: Type.Optional(Type.String({ description: "Password of the sentinels" })),
});

const SCHEMAS = { redis: Single, "redis-cluster": Cluster, "redis-sentinel": Sentinel } as const;

export type RedisPolicy = keyof typeof SCHEMAS;
export type RedisSettings =
  | ({ policy: "redis" } & Static<typeof Single>)
  | ({ policy: "redis-cluster" } & Static<typeof Cluster>)
  | ({ policy: "redis-sentinel" } & Static<typeof Sentinel>);

export const ENCRYPTED_FIELDS = ["redis_password", "sentinel_password"] as const;

/**
 * Options of a plugin's schema that demand the fields of the chosen policy: `if`/`then`/`else`, nested as in APISIX,
 * whose refusals name the branch. `more`: fields besides, for every policy.
 */
export function redisConditions(
  policies: readonly RedisPolicy[],
  more: Parameters<typeof Type.Object>[0] = {},
): object {
  const [policy, ...others] = policies;
  return {
    if: { properties: { policy: { enum: [policy] } }, required: ["policy"] },
    then: Type.Object({ ...SCHEMAS[policy].properties, ...more }),
    ...(others.length > 0 && { else: redisConditions(others, more) }),
  };
}

/** Null for the policy "local". */
export function redisSettings(config: { policy: string }): RedisSettings | null {
  return config.policy === "local" ? null : (config as RedisSettings);
}

/** What the schema cannot refuse. */
export function checkRedisSettings(config: { policy: string }): string | null {
  const settings = redisSettings(config);
  if (settings?.policy === "redis-sentinel" && settings.redis_role === "slave")
    return 'redis_role "slave" is not supported: counters are written, which a slave refuses';
  if (settings?.policy === "redis-cluster") {
    const wrong = settings.redis_cluster_nodes.find((node) => !/^.+:\d{1,5}$/.test(node));
    if (wrong !== undefined) return `redis_cluster_nodes: given "${wrong}", expected host:port`;
  }
  return null;
}

/**
 * Names the content of a limit, so that an edited one counts anew. Passwords are no part of it: the name is written
 * into Redis, where a hash of a weak password could be guessed.
 */
export function limitVersion(config: object): string {
  return contentHash({ ...config, redis_password: undefined, sentinel_password: undefined });
}
