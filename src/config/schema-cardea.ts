/** Cardea's own options: `cardea:` in the static file. Those that mean something together stand beside what is made of them. */

import { Type } from "../lib/schema.ts";
import { AccessLogKeys } from "./access-log.ts";
import { discoveryOptions } from "./discovery.ts";
import { Fallback } from "./fallback.ts";
import { httpSection } from "./http.ts";
import { choice, duration, section, size } from "./kinds.ts";
import { supervisionSection } from "./supervision.ts";
import { Tenant } from "./tenants.ts";
import { upstreamSection } from "./upstream-defaults.ts";
import { Group, Workers } from "./worker-groups.ts";

const DAY_MS = 86_400_000;
const GIBIBYTE = 1024 ** 3;

const memory = section(
  {
    limit_counters: Type.Integer({
      default: 262_144,
      minimum: 1024,
      maximum: 2 ** 24,
      description: "Counters of the limit plugins that live at one time.",
    }),
    dictionary_size: size({
      default: "16m",
      minimum: 65_536,
      maximum: 2 * GIBIBYTE,
      description: "Shared dictionary of plugins.",
    }),
    metrics_size_per_worker: size({
      default: "32m",
      minimum: 65_536,
      maximum: GIBIBYTE,
      description: "Metric series of one worker.",
    }),
  },
  { description: "Memory that all workers share. Pages are taken from the system when they are first used." },
);

const stream = section(
  {
    max_udp_sessions: Type.Integer({
      default: 10_000,
      minimum: 1,
      maximum: 1_000_000,
      description: "Clients of all UDP ports together; each has an open socket.",
    }),
  },
  { description: "Stream routes." },
);

export const cardeaSection = section(
  {
    workers: Type.Optional(Workers),
    groups: Type.Array(Group, {
      default: [],
      maxItems: 64,
      description:
        "More groups of workers with listeners of their own, so that a tenant's load stays with its workers.",
    }),
    tenants: Type.Array(Tenant, {
      default: [],
      maxItems: 64,
      description: "Nodes within the node, each with resources of its own: see docs/tenants.md.",
    }),
    http: httpSection,
    stream,
    upstream: upstreamSection,
    fallback: Type.Optional(Fallback),
    discovery: discoveryOptions,
    memory,
    supervision: supervisionSection,
    store: section({
      history_revisions: Type.Integer({
        default: 10_000,
        minimum: 0,
        maximum: 100_000_000,
        description: "Revisions that the embedded store keeps.",
      }),
      history_days: Type.Number({
        default: 30,
        minimum: 0,
        maximum: 36_500,
        description: "Days that it keeps them; whatever is reached first.",
      }),
      history_size: size({
        default: 268_435_456,
        minimum: 1_048_576,
        maximum: 1024 * GIBIBYTE,
        description: "Bytes of past versions that the embedded store keeps; the oldest go first.",
      }),
      file: Type.Optional(
        Type.String({
          minLength: 1,
          maxLength: 4096,
          description: "File with the resources of a data_plane, instead of apisix.yaml or apisix.json.",
        }),
      ),
      snapshot: Type.Optional(
        Type.Boolean({
          description:
            "Whether the last good configuration is kept in the data folder, to start from when the store does not " +
            "answer. Default: true where the store is elsewhere, false for a file; the embedded store needs none.",
        }),
      ),
      snapshot_interval: duration({
        default: "10s",
        minimum: 100,
        maximum: DAY_MS,
        description: "Least time between two writes of the snapshot.",
      }),
      max_age: duration({
        default: 0,
        maximum: 365 * DAY_MS,
        description:
          "A node whose configuration was not confirmed by the store for longer is not ready. 0: age does not matter.",
      }),
    }),
    admin: section({
      server_header: Type.String({
        default: "APISIX/3.18.0",
        maxLength: 100,
        description:
          "`Server` header of the Admin API; clients of APISIX choose features by it. Empty: none.",
      }),
      max_body_size: size({
        default: "1536k",
        minimum: 1024,
        maximum: GIBIBYTE,
        description: "Request body of the Admin API.",
      }),
    }),
    metrics: section({
      max_series_per_worker: Type.Integer({
        default: 50_000,
        minimum: 100,
        maximum: 10_000_000,
        description: "Series of one worker; more are counted in an overflow series.",
      }),
    }),
    log: section({
      level: Type.Optional(
        choice(["debug", "info", "warn", "error"], {
          description: "Of the node's own log. Default: `nginx_config.error_log_level`, else info",
        }),
      ),
    }),
    zone: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: 128,
        pattern: "^[^\\s$]+$",
        description: "Zone in which this node is: `local` in `zones` of upstreams (docs/zones.md)",
      }),
    ),
    private_hosts: Type.Array(
      Type.String({
        pattern: "^(?:\\*|(?:\\*\\.)?[0-9a-zA-Z_.-]{1,253})$",
        expects: "a host name, *.name or *",
      }),
      {
        default: [],
        maxItems: 256,
        description:
          "Host names (`a.com`, `*.a.com`, or `*` for all) under which the Control API and the metrics page may be asked, beside addresses, `localhost` and the machine's name; others get 403.",
      },
    ),
    access_log: Type.Object(AccessLogKeys, {
      default: {},
      additionalProperties: false,
      description: "The same keys as in `nginx_config.http`, which count when these are absent.",
    }),
  },
  { description: "Cardea's own options." },
);
