/**
 * `deployment.etcd`: where the etcd is and how it is spoken to. A section here is what makes a traditional node
 * keep its resources in an etcd; the other roles that read one use the defaults without it.
 */

import { resolve } from "node:path";
import { Type } from "../lib/schema.ts";
import { duration, section, withoutEffect } from "./kinds.ts";
import type { ResolveInput } from "./resolve.ts";
import type { EtcdStoreConfig } from "./static-config.ts";
import { unreadableFile } from "./unreadable-file.ts";
import { PUBLIC_KEYS } from "./well-known-keys.ts";

const HOUR_MS = 3_600_000;
const DEFAULT_HOST = "http://127.0.0.1:2379";

const host = Type.String({
  pattern: "^https?://(?:\\[[0-9a-fA-F:.]+\\]|[^/:@\\s]+)(?::[0-9]{1,5})?/?$",
  maxLength: 512,
  expects: "http://host:port or https://host:port",
});

const file = (description: string) =>
  Type.Optional(Type.String({ minLength: 1, maxLength: 4096, description }));

export const etcdSection = section(
  {
    host: Type.Array(host, {
      default: [DEFAULT_HOST],
      minItems: 1,
      maxItems: 64,
      description: "Members of the etcd (or its grpc-proxy). One is used at a time, another when it fails.",
    }),
    prefix: Type.String({
      default: "/apisix",
      pattern: "^/?[^/]+(?:/[^/]+)*/?$",
      maxLength: 512,
      expects: "a prefix as /apisix",
      description: "Keys of the resources begin with it.",
    }),
    timeout: duration({
      default: "30s",
      minimum: 100,
      maximum: HOUR_MS,
      description: "Longest time for a read or a write, with all that is tried again in it.",
    }),
    health_check_timeout: duration({
      default: "10s",
      minimum: 0,
      maximum: HOUR_MS,
      description: "How long a member that failed is asked last.",
    }),
    resync_delay: duration({
      default: "5s",
      minimum: 100,
      maximum: HOUR_MS,
      description: "Longest pause between two attempts while no member answers.",
    }),
    watch_timeout: Type.Optional(withoutEffect("A watch stands until it breaks.")),
    startup_retry: Type.Optional(withoutEffect("A node tries until the etcd answers.")),
    user: Type.Optional(
      Type.String({ minLength: 1, maxLength: 256, description: "Name of a user of the etcd." }),
    ),
    password: Type.Optional(
      Type.String({ maxLength: 1024, secret: true, description: "The user's password." }),
    ),
    tls: section({
      ca: file(
        "File with the authorities that sign the etcd's certificates. Default: those that Node.js knows.",
      ),
      cert: file("File with the client's certificate, for mTLS."),
      key: file("File with its key."),
      sni: Type.Optional(
        Type.String({
          minLength: 1,
          maxLength: 255,
          description: "Name that the server's certificate must have.",
        }),
      ),
      verify: Type.Boolean({ default: true, description: "Whether the server's certificate is checked." }),
    }),
  },
  { description: "The etcd with the resources, as APISIX lays them out: see docs/etcd.md." },
);

/** Beside the resources, for all prefixes: their history, and what gateways tell each other. */
const OWN_KEYS = "/cardea";

/** Why resources cannot stand below it; null: they can. */
export function prefixFault(prefix: string): string | null {
  if (!`${prefix}/`.startsWith(`${OWN_KEYS}/`)) return null;
  return `given ${prefix}, expected a prefix outside ${OWN_KEYS}, where the gateway keeps histories and reports`;
}

/** Defaults hold where the file has no section. */
export function etcdStore(input: ResolveInput): EtcdStoreConfig {
  const { filled, folder, addProblem, addWarning } = input;
  const { history_revisions: historyRevisions, history_days: historyDays } = filled.cardea.store;
  const { host, prefix, timeout, health_check_timeout, resync_delay, user, password, tls } =
    filled.deployment.etcd;
  const isSecure = host.some((url) => url.startsWith("https:"));
  if (isSecure && host.some((url) => url.startsWith("http:"))) {
    addProblem(["deployment", "etcd", "host"], "given https and http, expected one of them for all members");
  }
  if ((tls.cert === undefined) !== (tls.key === undefined)) {
    addProblem(["deployment", "etcd", "tls"], "given one of cert and key, expected both or none");
  }
  if ((user === undefined) !== (password === undefined)) {
    addProblem(["deployment", "etcd"], "given one of user and password, expected both or none");
  }
  if (isSecure && !tls.verify) {
    addWarning(
      "deployment.etcd.tls.verify is false: whoever is in the way can read and change the configuration",
    );
  }
  const wrongPrefix = prefixFault(`/${prefix.replace(/^\/|\/$/g, "")}`);
  if (wrongPrefix !== null) addProblem(["deployment", "etcd", "prefix"], wrongPrefix);
  const path = (name: string | undefined) => (name === undefined ? null : resolve(folder, name));
  for (const key of isSecure ? (["ca", "cert", "key"] as const) : []) {
    const warning = unreadableFile(`deployment.etcd.tls.${key}`, path(tls[key]));
    if (warning !== null) addWarning(warning);
  }
  return {
    type: "etcd",
    endpoints: host.map((url) => url.replace(/\/$/, "")),
    prefix: `/${prefix.replace(/^\/|\/$/g, "")}`,
    timeoutMs: timeout,
    avoidFailedMs: health_check_timeout,
    longestPauseMs: resync_delay,
    user: user === undefined || password === undefined ? null : { name: user, password },
    tls: isSecure
      ? {
          caFile: path(tls.ca),
          certificateFile: path(tls.cert),
          keyFile: path(tls.key),
          serverName: tls.sni ?? null,
          isVerified: tls.verify,
        }
      : null,
    historyRevisions,
    historyDays,
  };
}

/**
 * Nodes that share an etcd must share the key, too: one that a node made for itself would be no use to the others. A node
 * without one starts (APISIX's own files have none), and refuses to write what is to be encrypted.
 */
export function warnWithoutSharedKey({ filled, addWarning }: ResolveInput): void {
  const { keyring } = filled.apisix.data_encryption;
  const first = typeof keyring === "string" ? keyring : keyring[0];
  if (first !== undefined && !PUBLIC_KEYS.has(first)) return;
  addWarning(
    "apisix.data_encryption.keyring has no secret key in the first place: resources with secret fields cannot be written " +
      "until it has one (16 or 32 characters), the same on all nodes of this etcd",
  );
}
