/**
 * Secret managers: where texts of certificates stand (`$secret://`). Vault is asked by control; the others are stored and
 * checked. Their bounds are APISIX's.
 */

import { Type } from "../lib/schema.ts";
import { refused } from "./resource-type.ts";
import type { ResourceType } from "./resource-type.ts";
import { common, raw } from "./schema-parts.ts";

const Url = Type.String({ pattern: "^[^/]+://([\\da-zA-Z.-]+|\\[[\\da-fA-F:]+\\])(:\\d+)?" });

/** Keys of each kind of secret manager; the id of the resource is "manager/id". */
const SECRET_MANAGERS = {
  vault: Type.Object({
    ...common,
    uri: Url,
    prefix: Type.String(),
    token: Type.String(),
    namespace: Type.Optional(Type.String()),
  }),
  aws: Type.Object({
    ...common,
    access_key_id: Type.String(),
    secret_access_key: Type.String(),
    session_token: Type.Optional(Type.String()),
    region: Type.Optional(Type.String({ default: "us-east-1" })),
    endpoint_url: Type.Optional(Url),
  }),
  gcp: raw({
    type: "object",
    properties: {
      auth_config: Type.Object({
        client_email: Type.String(),
        private_key: Type.String(),
        project_id: Type.String(),
        token_uri: Type.Optional(Type.String({ default: "https://oauth2.googleapis.com/token" })),
        scope: Type.Optional(
          Type.Array(Type.String(), { default: ["https://www.googleapis.com/auth/cloud-platform"] }),
        ),
        entries_uri: Type.Optional(Type.String({ default: "https://secretmanager.googleapis.com/v1" })),
      }),
      ssl_verify: Type.Boolean({ default: true }),
      auth_file: Type.String(),
    },
    oneOf: [{ required: ["auth_config"] }, { required: ["auth_file"] }],
  }),
};

export const secretType: ResourceType = {
  plural: "secrets",
  singular: "secret",
  title: "secret",
  schema: raw({ type: "object" }),
  schemaFor(id) {
    const manager = managerOf(id);
    return manager === null ? undefined : withManagerId(manager);
  },
  secretReferences: true,
  id: { field: "id", generated: false },
  methods: ["GET", "PUT", "PATCH", "DELETE"],
  references: [],
  inUse: null,
  check(_, _context, id) {
    if (managerOf(id) !== null) return null;
    return refused(`invalid secret manager: ${(id ?? "").split("/")[0]}`, "");
  },
  normalize: null,
};

function managerOf(id: string | undefined): keyof typeof SECRET_MANAGERS | null {
  const name = (id ?? "").split("/")[0];
  return Object.hasOwn(SECRET_MANAGERS, name) ? (name as keyof typeof SECRET_MANAGERS) : null;
}

/** The stored id is "manager/id", which the common id does not allow. */
const managerSchemas = Object.fromEntries(
  Object.entries(SECRET_MANAGERS).map(([name, schema]) => {
    const { properties } = schema as unknown as { properties: object };
    return [name, raw({ ...schema, properties: { ...properties, id: Type.String() } })];
  }),
);

function withManagerId(manager: string) {
  return managerSchemas[manager];
}
