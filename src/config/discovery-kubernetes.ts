/**
 * `discovery.kubernetes` of the static file: one cluster, or a list of them. Values of the form `${NAME}` are those of
 * environment variables, as in APISIX.
 */

import type { Static } from "@sinclair/typebox";
import { Type } from "../lib/schema.ts";
import type { KubernetesDiscoveryConfig } from "./discovery.ts";
import { choice, section, withoutEffect } from "./kinds.ts";
import type { ResolveInput } from "./resolve.ts";

const TOKEN_FILE = "/var/run/secrets/kubernetes.io/serviceaccount/token";
const VARIABLE = /^\$\{([_A-Za-z][_A-Za-z0-9]*)\}$/;

const Namespace = Type.String({
  pattern: "^[a-z0-9]([-a-z0-9_.]*[a-z0-9])?$",
  maxLength: 253,
  expects: "the name of a namespace",
});
const Patterns = Type.Array(Type.String({ minLength: 1, maxLength: 1000 }), { minItems: 1, maxItems: 100 });

const clusterKeys = {
  service: section({
    schema: choice(["http", "https"], { default: "https", description: "Scheme of the API server." }),
    host: Type.String({ default: "${KUBERNETES_SERVICE_HOST}", minLength: 1, maxLength: 253 }),
    port: Type.Union([Type.String({ maxLength: 253 }), Type.Integer({ minimum: 1, maximum: 65_535 })], {
      default: "${KUBERNETES_SERVICE_PORT}",
      expects: "a port, or ${NAME} of an environment variable",
    }),
    ssl_verify: Type.Boolean({ default: false, description: "Whether its certificate is verified." }),
  }),
  client: section({
    token: Type.Optional(Type.String({ secret: true, maxLength: 4096, description: "Bearer token." })),
    token_file: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: 500,
        description: `File with it, read anew each time. Default: ${TOKEN_FILE}`,
      }),
    ),
  }),
  namespace_selector: Type.Optional(
    Type.Object(
      {
        equal: Type.Optional(Namespace),
        not_equal: Type.Optional(Namespace),
        match: Type.Optional(Patterns),
        not_match: Type.Optional(Patterns),
      },
      {
        additionalProperties: false,
        description: "Namespaces that are looked at: one of the keys; regular expressions match whole names.",
      },
    ),
  ),
  label_selector: Type.Optional(Type.String({ maxLength: 4096, description: "As in `kubectl -l`." })),
  default_weight: Type.Integer({
    default: 50,
    minimum: 0,
    maximum: 1_000_000,
    description: "Weight of nodes.",
  }),
  watch_endpoint_slices: Type.Boolean({
    default: false,
    description: "Whether EndpointSlices are followed instead of Endpoints.",
  }),
  shared_size: Type.Optional(withoutEffect("Memory is that of the node.")),
};

export const KubernetesCluster = Type.Object(clusterKeys, { additionalProperties: false });

/** One of several. */
export const KubernetesClusterWithId = Type.Object(
  { id: Type.String({ pattern: "^[a-z0-9]{1,64}$", expects: "an id (a-z, 0-9)" }), ...clusterKeys },
  { additionalProperties: false },
);

type Cluster = Static<typeof KubernetesCluster> & { id?: string };
type Path = (string | number)[];

export function kubernetesOf({ filled, env, addProblem }: ResolveInput): KubernetesDiscoveryConfig[] {
  const given = filled.discovery.kubernetes;
  if (given === undefined) return [];
  const clusters: Cluster[] = Array.isArray(given) ? given : [given];
  const ids = new Set<string>();
  return clusters.map((cluster, i) => {
    const path: Path = ["discovery", "kubernetes", ...(Array.isArray(given) ? [i] : [])];
    const { id = "", service, client, namespace_selector: namespaces = {} } = cluster;
    if (ids.has(id))
      addProblem([...path, "id"], `given ${JSON.stringify(id)} twice, expected one cluster of an id`);
    ids.add(id);
    const read = (value: string, ...key: string[]): string => {
      const [, name] = VARIABLE.exec(value) ?? [];
      if (name === undefined) return value;
      const found = env[name];
      if (found === undefined) addProblem([...path, ...key], `expected the environment variable ${name}`);
      return found ?? "";
    };
    if (Object.keys(namespaces).length > 1) {
      addProblem([...path, "namespace_selector"], "expected one of equal, not_equal, match and not_match");
    }
    const patterns = (key: "match" | "not_match"): RegExp[] | null =>
      namespaces[key]?.map((text, at) => {
        const pattern = wholeName(text);
        if (pattern !== null) return pattern;
        addProblem(
          [...path, "namespace_selector", key, at],
          `given ${JSON.stringify(text)}, expected a regular expression`,
        );
        return /^$/;
      }) ?? null;
    const host = read(service.host, "service", "host");
    const port = Number(read(String(service.port), "service", "port"));
    if (!Number.isInteger(port) || port < 1 || port > 65_535) {
      addProblem([...path, "service", "port"], "expected a port (1..65535)");
    }
    const { token, token_file: file = TOKEN_FILE } = client;
    return {
      id,
      server: `${service.schema}://${host.includes(":") ? `[${host}]` : host}:${port}`,
      isVerified: service.ssl_verify,
      token: token === undefined ? null : read(token, "client", "token").trim(),
      tokenFile: token === undefined ? read(file, "client", "token_file") : null,
      namespaces: {
        equal: namespaces.equal ?? null,
        notEqual: namespaces.not_equal ?? null,
        match: patterns("match"),
        notMatch: patterns("not_match"),
      },
      labelSelector: cluster.label_selector ?? null,
      weight: cluster.default_weight,
      usesSlices: cluster.watch_endpoint_slices,
    };
  });
}

/** Null: it is no regular expression. */
function wholeName(text: string): RegExp | null {
  try {
    return new RegExp(`^(?:${text})$`);
  } catch {
    // The caller tells where it stands.
    return null;
  }
}
