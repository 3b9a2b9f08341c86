/**
 * `zones` of an upstream, beyond APISIX's fields: in which order zones (data centres, clusters) serve, when one of them is
 * given up for the next, and how it gets its traffic back. The zone of a node is `metadata.zone`.
 */

import { Type } from "../lib/schema.ts";
import { withDefaults } from "./defaults.ts";
import { isObject } from "./resource-type.ts";
import type { JsonObject } from "./resource-type.ts";
import { strictObject } from "./schema-parts.ts";

const MAX_ZONES = 64;
/** Stands for the zone of the gateway itself. */
export const LOCAL = "local";
const ZoneName = Type.String({ minLength: 1, maxLength: 128, pattern: "^[^\\s$]+$" });

export const Zones = strictObject({
  order: Type.Optional(
    Type.Array(ZoneName, { minItems: 1, maxItems: MAX_ZONES, uniqueItems: true, default: [LOCAL] }),
  ),
  strict: Type.Optional(Type.Boolean({ default: false })),
  min_healthy_percent: Type.Optional(Type.Integer({ minimum: 0, maximum: 100, default: 0 })),
  fail_back: Type.Optional(Type.Number({ minimum: 0, maximum: 86_400, default: 0 })),
});

export interface ZoneSettings {
  /** Zones that serve before all others of the same priority, the first first. */
  order: string[];
  /** No other zones serve. */
  strict: boolean;
  /** Of the nodes of a zone; below it the next zone serves. One node is needed in any case. */
  min_healthy_percent: number;
  /** Seconds in which a zone that is back gets its traffic, by steps; 0: at once. */
  fail_back: number;
}

/** Of an upstream that was accepted; undefined: it has none. */
export function zonesOf({ zones }: JsonObject): ZoneSettings | undefined {
  return isObject(zones) ? (withDefaults(Zones, zones) as ZoneSettings) : undefined;
}
