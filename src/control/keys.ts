/**
 * Keys of the store and the resources behind them: "/routes/1" is route 1, "/consumers/jack/credentials/a"
 * credential a of jack, "/secrets/vault/1" secret "vault/1". Keys that no resource owns are left alone.
 */

import type { ResourceType } from "../model/resource-type.ts";

export interface ResourceAddress {
  type: ResourceType;
  id: string;
  /** Id of the resource that this one stands below ("jack"), else null. */
  parent: string | null;
}

/** Types by their plural name. */
export type ResourceTypes = ReadonlyMap<string, ResourceType>;

export function keyOf(type: ResourceType, id: string, parent: string | null): string {
  return parent === null ? `/${type.plural}/${id}` : `/${type.parent}/${parent}/${type.plural}/${id}`;
}

/** Null: the key is not that of a resource. */
export function addressOf(key: string, types: ResourceTypes): ResourceAddress | null {
  const steps = key.split("/");
  if (steps.length < 3 || steps[0] !== "") return null;
  if (steps.length === 5) {
    const below = types.get(steps[3]);
    if (below?.parent !== undefined && below.parent === steps[1]) {
      return { type: below, id: steps[4], parent: steps[2] };
    }
  }
  const type = types.get(steps[1]);
  if (type === undefined || type.parent !== undefined) return null;
  const id = steps.slice(2).join("/");
  return id === "" || (steps.length > 3 && type.plural !== "secrets") ? null : { type, id, parent: null };
}
