/**
 * Every key of the static configuration: those of APISIX that have an effect, those that are known and have
 * none yet, and Cardea's own under `cardea`. One schema, from which the checks, the defaults, the types and
 * the reference page (scripts/docs-config.ts writes docs/configuration.md) are made.
 */

import { Type } from "../lib/schema.ts";
import type { Static } from "@sinclair/typebox";
import { discoverySection } from "./discovery.ts";
import { section, withoutEffect } from "./kinds.ts";
import { prometheusAttributes } from "./metrics.ts";
import { apisixSection } from "./schema-apisix.ts";
import { cardeaSection } from "./schema-cardea.ts";
import { deploymentSection } from "./schema-deployment.ts";
import { nginxSection } from "./schema-nginx.ts";

export const FileSchema = section({
  apisix: apisixSection,
  nginx_config: Type.Optional(nginxSection),
  deployment: deploymentSection,
  plugins: Type.Optional(
    Type.Array(Type.String({ minLength: 1, maxLength: 100 }), {
      maxItems: 1000,
      description:
        "The plugins that may be used; the list replaces the default, which is all that are built in.",
    }),
  ),
  plugin_attr: Type.Object(
    { prometheus: Type.Optional(prometheusAttributes) },
    {
      default: {},
      additionalProperties: Type.Unsafe<Record<string, unknown>>({
        type: "object",
        expects: "a map of attributes",
      }),
      description: "Attributes of plugins, by name.",
    },
  ),
  graphql: section({
    max_size: Type.Integer({
      default: 1024 ** 2,
      minimum: 1,
      maximum: 1024 ** 3,
      description: "Bytes of a GraphQL document that is parsed; a longer one has no `graphql` variables.",
    }),
  }),
  discovery: discoverySection,
  cardea: cardeaSection,

  stream_plugins: Type.Optional(withoutEffect("Plugins for streams.")),
  wasm: Type.Optional(withoutEffect("WebAssembly plugins.")),
  xrpc: Type.Optional(withoutEffect("Application protocols on streams.")),
  "ext-plugin": Type.Optional(withoutEffect("External plugin runners.")),
  etcd: Type.Optional(withoutEffect("Older place of `deployment.etcd`.")),
  http: Type.Optional(withoutEffect("Lua shared dictionaries.")),
});

/** The decoded file with all defaults. */
export type ConfigFile = Static<typeof FileSchema>;
