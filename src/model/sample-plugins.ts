/** Plugins for the tests of this folder: small, of every kind that the model treats differently. */

import { Type } from "../lib/schema.ts";
import type { PluginCatalog, PluginRules } from "./resource-type.ts";

const limit: PluginRules = {
  name: "limit",
  config: Type.Object({
    count: Type.Integer({ exclusiveMinimum: 0 }),
    // Declared as present, as authors of plugins do; clients may leave them out.
    policy: Type.String({ default: "local" }),
    nested: Type.Object({ depth: Type.Integer({ default: 3 }) }, { default: {} }),
    password: Type.Optional(Type.String({ minLength: 100 })),
    list: Type.Optional(Type.Array(Type.Object({ weight: Type.Integer({ default: 1 }) }))),
  }),
  check: (config) => ((config as { count: number }).count === 13 ? "count must not be 13" : null),
};

const keyAuth: PluginRules = {
  name: "key-auth",
  type: "auth",
  config: Type.Object({ header: Type.String({ default: "apikey" }) }),
  consumer: Type.Object({ key: Type.String({ minLength: 1 }) }),
};

const logger: PluginRules = {
  name: "logger",
  config: Type.Object({}),
  metadata: Type.Object({ log_format: Type.Record(Type.String(), Type.String(), { default: {} }) }),
};

const broken: PluginRules = {
  name: "broken",
  config: Type.Object({}),
  check() {
    throw new TypeError("oops");
  },
};

/** Its schema says more than the explanation of refusals understands. */
const unexplained: PluginRules = {
  name: "unexplained",
  config: Type.Unsafe<unknown>({
    type: "object",
    properties: { list: { type: "array", contains: { const: 1 } }, other: { type: "array" } },
  }),
};

export const samplePlugins: PluginCatalog = new Map(
  [limit, keyAuth, logger, broken, unexplained].map((plugin) => [plugin.name, plugin]),
);
