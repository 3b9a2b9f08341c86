/**
 * Which other resources a resource names, in its own fields and inside the plugins that name resources. The
 * Admin API asks it before a write (do they exist?) and before a delete (does anyone name this one?).
 */

import { isObject, pointerStep } from "./resource-type.ts";
import type { JsonObject, Reference, ResourceType } from "./resource-type.ts";

export interface FoundReference {
  /** Plural name of the target's type. */
  to: string;
  /** Ids are compared as text: 1 and "1" are the same resource. */
  id: string;
  title: string;
  /** Where it stands. */
  pointer: string;
  reference: Reference;
}

/** Only looked at for deletes: APISIX lets a plugin name an upstream that is not there yet. */
const PLUGIN_REFERENCES: readonly Reference[] = [
  {
    path: ["plugins", "traffic-split", "rules", "*", "weighted_upstreams", "*", "upstream_id"],
    to: "upstreams",
    title: "upstream",
  },
  { path: ["plugins", "grpc-transcode", "proto_id"], to: "protos", title: "proto" },
];

/** References that must exist when `value` is written. */
export function referencesOf(type: ResourceType, value: JsonObject): FoundReference[] {
  return type.references.flatMap((reference) => find(reference, value));
}

/** Those and the ones inside plugins: all that keeps another resource from being deleted. */
export function usesOf(type: ResourceType, value: JsonObject): FoundReference[] {
  const inPlugins = PLUGIN_REFERENCES.flatMap((reference) => find(reference, value));
  return [...referencesOf(type, value), ...inPlugins];
}

function find(reference: Reference, value: JsonObject): FoundReference[] {
  let places: { value: unknown; pointer: string }[] = [{ value, pointer: "" }];
  for (const step of reference.path) {
    places = places.flatMap((place) => {
      if (step === "*") {
        const items: unknown[] = Array.isArray(place.value) ? place.value : [];
        return items.map((item, i) => ({ value: item, pointer: place.pointer + pointerStep(i) }));
      }
      if (!isObject(place.value) || !Object.hasOwn(place.value, step)) return [];
      return [{ value: place.value[step], pointer: place.pointer + pointerStep(step) }];
    });
  }
  return places
    .filter((place) => typeof place.value === "string" || typeof place.value === "number")
    .map((place) => ({
      to: reference.to,
      id: String(place.value),
      title: reference.title,
      pointer: place.pointer,
      reference,
    }));
}
