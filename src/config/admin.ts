/** `deployment.admin`: the Admin API, who may reach it, and who has a key to what. */

import { Type } from "../lib/schema.ts";
import { RESOURCE_NAMES } from "../model/resource-names.ts";
import { address, choice, cidr, port, section, withoutEffect } from "./kinds.ts";
import type { ResolveInput } from "./resolve.ts";
import { hasAdmin } from "./roles.ts";
import type { AdminConfig, AdminKey } from "./static-config.ts";
import { keyFault, WELL_KNOWN_KEYS } from "./well-known-keys.ts";

const LEAST_KEY_LENGTH = 16;
const LOOPBACK = /^(?:127\.|::1$)/;

const KeyScopeSection = Type.Object(
  {
    resources: Type.Optional(
      Type.Array(choice(RESOURCE_NAMES), {
        minItems: 1,
        maxItems: 100,
        description: "Types of resources, as in paths: `routes`.",
      }),
    ),
    labels: Type.Optional(
      Type.Unsafe<Record<string, string>>({
        type: "object",
        additionalProperties: Type.String({ minLength: 1 }),
        description: "Labels that resources must have, with these values.",
      }),
    ),
    hosts: Type.Optional(
      Type.Array(Type.String({ minLength: 1, maxLength: 256 }), {
        minItems: 1,
        maxItems: 1000,
        description: "Hosts; `*.example.com` stands for those below example.com.",
      }),
    ),
    uri_prefixes: Type.Optional(
      Type.Array(Type.String({ pattern: "^/", maxLength: 4096, expects: "a path that begins with /" }), {
        minItems: 1,
        maxItems: 1000,
        description: "Paths below which routes may be.",
      }),
    ),
  },
  { additionalProperties: false, expects: "{ resources, labels, hosts, uri_prefixes }" },
);

const AdminKeyEntry = Type.Object(
  {
    name: Type.String({
      default: "admin",
      minLength: 1,
      maxLength: 100,
      description: "Who writes; kept in the history.",
    }),
    key: Type.String({
      default: "",
      maxLength: 1024,
      secret: true,
      description: "Empty: see `deployment.admin.admin_key`.",
    }),
    role: choice(["admin", "viewer"], { default: "admin", description: "A viewer may read only." }),
    scope: Type.Optional(KeyScopeSection),
  },
  { additionalProperties: false, expects: "{ name, key, role, scope }" },
);

export const adminSection = section({
  admin_key_required: Type.Boolean({
    default: true,
    description: "Whether the Admin API asks for a key.",
  }),
  admin_key: Type.Array(AdminKeyEntry, {
    default: [],
    maxItems: 1000,
    description:
      "Keys of the Admin API. Without one, a key is made at the first start and kept in the data folder. " +
      "The environment variable CARDEA_ADMIN_KEY replaces the keys with the role admin and without scope. " +
      "`scope` limits a key to `resources`, `labels`, `hosts` and `uri_prefixes`: see docs/admin-api.md.",
  }),
  allow_admin: Type.Array(cidr(), {
    default: ["127.0.0.0/24", "::1"],
    minItems: 1,
    maxItems: 1024,
    expects: "a list of IP addresses or CIDRs; to allow every address write 0.0.0.0/0 and ::/0",
    description: "Who may reach the Admin API.",
  }),
  admin_listen: section({
    ip: address({ default: "127.0.0.1", description: "Address of the Admin API." }),
    port: port({ default: 9180, description: "Port of the Admin API." }),
  }),
  enable_admin_cors: Type.Boolean({
    default: true,
    description: "Whether pages of other origins may use the Admin API.",
  }),
  admin_api_version: choice(["v3"], { default: "v3", description: "Version of the Admin API." }),
  https_admin: Type.Literal(false, {
    default: false,
    type: "boolean",
    enum: [false],
    expects: "false (TLS for the Admin API comes later; it is never served in the clear instead)",
    description: "TLS for the Admin API comes later.",
  }),
  admin_api_mtls: Type.Optional(withoutEffect("Client certificates for the Admin API.")),
  enable_admin_ui: Type.Optional(withoutEffect("The embedded dashboard.")),
});

export function admin(input: ResolveInput): AdminConfig {
  const { filled, addWarning } = input;
  const section = filled.deployment.admin;
  if (hasAdmin(filled) && !section.admin_key_required) {
    addWarning(
      "deployment.admin.admin_key_required is false: whoever reaches the Admin API may change everything",
    );
  }
  return {
    enabled: hasAdmin(filled),
    keyRequired: section.admin_key_required,
    keys: adminKeys(input),
    allow: section.allow_admin,
    cors: section.enable_admin_cors,
    serverHeader: serverHeader(filled.cardea.admin.server_header, filled.apisix.enable_server_tokens),
    maxBodyBytes: filled.cardea.admin.max_body_size,
    streamRoutes: filled.apisix.proxy_mode !== "http",
  };
}

/** Without server tokens the name stays and the version goes. */
function serverHeader(text: string, hasTokens: boolean): string | null {
  if (text === "") return null;
  return hasTokens ? text : text.split("/", 1)[0];
}

function adminKeys({ filled, env, addProblem, addProblemOutside, addWarning }: ResolveInput): AdminKey[] {
  const fromEnvironment = env["CARDEA_ADMIN_KEY"] ?? "";
  const keys: AdminKey[] = [];
  const isLocal = LOOPBACK.test(filled.deployment.admin.admin_listen.ip);
  if (fromEnvironment !== "") {
    const fault = keyFault(fromEnvironment, isLocal);
    if (fault !== null) addProblemOutside({ key: "CARDEA_ADMIN_KEY", message: fault });
    keys.push({ name: "admin", key: fromEnvironment, role: "admin", scope: null });
  }
  filled.deployment.admin.admin_key.forEach((entry, i) => {
    if (entry.key === "" || (fromEnvironment !== "" && entry.role === "admin" && entry.scope === undefined))
      return;
    const path = ["deployment", "admin", "admin_key", i, "key"];
    const fault = keyFault(entry.key, isLocal);
    if (fault !== null) addProblem(path, fault);
    if (keys.some((other) => other.key === entry.key)) {
      addProblem(path, "given the same key as another entry, expected a key of its own");
    }
    if (entry.scope !== undefined && Object.keys(entry.scope).length === 0) {
      addProblem(
        ["deployment", "admin", "admin_key", i, "scope"],
        "given no limit, expected one (or no scope)",
      );
    }
    const { resources, labels, hosts, uri_prefixes } = entry.scope ?? {};
    const scope = {
      resources: resources ?? null,
      labels: labels ?? null,
      hosts: hosts ?? null,
      uriPrefixes: uri_prefixes ?? null,
    };
    const { name, key, role } = entry;
    keys.push({ name, key, role, scope: entry.scope === undefined ? null : scope });
  });
  if (keys.some(({ key }) => WELL_KNOWN_KEYS.has(key))) {
    addWarning(
      "an admin key is the one that APISIX's documentation prints: everybody on this machine knows it",
    );
  }
  if (keys.some((entry) => entry.key.length < LEAST_KEY_LENGTH)) {
    addWarning(`an admin key has fewer than ${LEAST_KEY_LENGTH} characters and can be guessed`);
  }
  return keys;
}
