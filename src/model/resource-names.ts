/** Plural names of all resource types, for the static configuration, which must not load the types themselves. */

export const RESOURCE_NAMES = [
  "blocks",
  "consumer_groups",
  "consumers",
  "credentials",
  "drains",
  "global_rules",
  "graphql_cost_decorations",
  "plugin_configs",
  "plugin_metadata",
  "progress",
  "protos",
  "rollouts",
  "routes",
  "secrets",
  "services",
  "ssls",
  "stream_routes",
  "upstreams",
] as const;

export type ResourceName = (typeof RESOURCE_NAMES)[number];
