/** The upstream: nodes and how they are chosen, reached and checked. Stands alone or inside other resources. */

import { Type } from "../lib/schema.ts";
import { isIP } from "node:net";
import { unreadablePair } from "./certificate-check.ts";
import { normalizeUpstream } from "./normalize-upstream.ts";
import type { PublishedUpstream } from "./published.ts";
import { isObject, pointerStep, refused } from "./resource-type.ts";
import type { JsonObject, Reference, ResourceType, ValidationError } from "./resource-type.ts";
import { checkSchema } from "./schema-check.ts";
import { UpstreamSchema } from "./upstream-schema.ts";

export { UpstreamSchema } from "./upstream-schema.ts";

/**
 * Variables that `chash` may hash; others are refused, as they are by APISIX. Its pattern to the letter, `A-z`
 * included, since refusals show it.
 */
const HashVariable = Type.String({
  pattern:
    "^((uri|server_name|server_addr|request_uri|remote_port|remote_addr|query_string|host|hostname|mqtt_client_id)" +
    "|arg_[0-9a-zA-z_-]+)$",
});
const HashName = Type.String({ pattern: "^[a-zA-Z0-9-_]+$" });

const upstreamReferences: readonly Reference[] = [
  {
    path: ["tls", "client_cert_id"],
    to: "ssls",
    title: "ssl",
    unfit: (ssl, _value, id) =>
      ssl["type"] === "client" ? null : `failed to fetch ssl info by ssl id [${id}], wrong ssl type`,
  },
];
/** The same below the field `upstream` of another resource. */
export const inlineUpstreamReferences: readonly Reference[] = upstreamReferences.map((reference) => ({
  ...reference,
  path: ["upstream", ...reference.path],
}));

export const inlineUpstreamPrivateKeys = [["upstream", "tls", "client_key"]] as const;

export const upstreamType: ResourceType<PublishedUpstream> = {
  plural: "upstreams",
  singular: "upstream",
  title: "upstream",
  schema: UpstreamSchema,
  id: { field: "id", generated: true },
  methods: ["GET", "PUT", "POST", "PATCH", "DELETE"],
  privateKeys: [["tls", "client_key"]],
  references: upstreamReferences,
  inUse: (title, id) => `can not delete this upstream, ${title} [${id}] is still using it now`,
  check: (value) => checkUpstream(value, ""),
  normalize: (id, value) => ({ id, ...normalizeUpstream(value) }),
};

/** What the schema cannot say; `at` is the pointer of the upstream inside its resource. */
export function checkUpstream(upstream: JsonObject, at: string): ValidationError | null {
  return (
    checkNodes(upstream["nodes"], `${at}/nodes`) ??
    checkPassHost(upstream, at) ??
    checkClientCertificate(upstream, at) ??
    checkBalancer(upstream, at) ??
    null
  );
}

/** Of the field `upstream`, when there is one. */
export function checkInlineUpstream(value: JsonObject): ValidationError | null {
  return isObject(value["upstream"]) ? checkUpstream(value["upstream"], "/upstream") : null;
}

function checkNodes(nodes: unknown, at: string): ValidationError | null {
  if (Array.isArray(nodes)) {
    const bare = nodes.findIndex((node) => isObject(node) && isIP(String(node["host"])) === 6);
    if (bare === -1) return null;
    return refused(
      "invalid configuration: IPv6 address must be enclosed with '[' and ']'",
      `${at}/${bare}/host`,
    );
  }
  for (const address of Object.keys(isObject(nodes) ? nodes : {})) {
    const port = /(?:^[^:]*|\]):([^:]*)$/.exec(address)?.[1];
    if (port === undefined) continue;
    if (!/^\d{1,5}$/.test(port) || Number(port) < 1 || Number(port) > 65535) {
      return refused(`invalid port ${port}`, at + pointerStep(address));
    }
  }
  return null;
}

function checkPassHost(upstream: JsonObject, at: string): ValidationError | null {
  if (upstream["pass_host"] !== "rewrite" || (upstream["upstream_host"] ?? "") !== "") return null;
  return refused("`upstream_host` can't be empty when `pass_host` is `rewrite`", `${at}/upstream_host`);
}

function checkClientCertificate({ tls }: JsonObject, at: string): ValidationError | null {
  if (!isObject(tls) || tls["client_cert"] === undefined) return null;
  const fault = unreadablePair(tls["client_cert"], tls["client_key"]);
  if (fault === null) return null;
  return refused(fault, `${at}/tls/client_${fault.includes("key") ? "key" : "cert"}`);
}

function checkBalancer(upstream: JsonObject, at: string): ValidationError | null {
  const type = upstream["type"] ?? "roundrobin";
  if (type !== "chash") {
    // Kafka's own client chooses the broker; clients write "none".
    if (upstream["scheme"] === "kafka") return null;
    if (type === "roundrobin" || type === "least_conn" || type === "ewma") return null;
    const known = "roundrobin, chash, least_conn or ewma";
    return refused(
      `invalid configuration: property "type" validation failed: expected ${known}`,
      `${at}/type`,
    );
  }
  const hashOn = upstream["hash_on"] ?? "vars";
  if (hashOn === "consumer") return null;
  if (upstream["key"] === undefined) return refused("missing key", `${at}/key`);
  if (hashOn === "vars_combinations") return null;
  const misfit = checkSchema(hashOn === "vars" ? HashVariable : HashName, upstream["key"], false);
  return misfit === null ? null : refused(`invalid configuration: ${misfit.message}`, `${at}/key`);
}
