/**
 * What a path of the Admin API names: a resource type, perhaps one resource, perhaps a node inside it.
 *
 *     /routes · /routes/1 · /routes/1/plugins/limit-count/count · /consumers/jack/credentials/a · /secrets/vault/1
 */

import type { ResourceTypes } from "../../control/keys.ts";
import type { ResourceType } from "../../model/resource-type.ts";

export interface Target {
  type: ResourceType;
  /** Null: the collection. */
  id: string | null;
  parent: string | null;
  /** Steps below the resource, joined by "/"; "" for the resource itself. */
  subPath: string;
}

/** `steps`: the decoded path behind the prefix. Null: there is no such resource type. */
export function targetOf(steps: readonly string[], types: ResourceTypes): Target | null {
  const below = steps.length >= 3 ? types.get(steps[2]) : undefined;
  if (below?.parent !== undefined && below.parent === steps[0]) {
    return { type: below, id: steps[3] ?? null, parent: steps[1], subPath: steps.slice(4).join("/") };
  }
  const type = types.get(steps[0]) ?? typeOfAlias(steps[0], types);
  if (type === undefined || type.parent !== undefined) return null;
  if (type.plural === "secrets" && steps.length > 1) {
    // The kind of secret manager alone names no secret.
    const id = steps.length === 2 ? null : steps.slice(1, 3).join("/");
    return { type, id, parent: null, subPath: steps.slice(3).join("/") };
  }
  return { type, id: steps[1] ?? null, parent: null, subPath: steps.slice(2).join("/") };
}

function typeOfAlias(alias: string, types: ResourceTypes): ResourceType | undefined {
  for (const type of types.values()) if (type.alias === alias) return type;
  return undefined;
}

/** The steps of a path without empty ones, or null when its encoding is invalid. */
export function stepsOf(path: string): string[] | null {
  try {
    return path
      .split("/")
      .filter((step) => step !== "")
      .map(decodeURIComponent);
  } catch {
    return null;
  }
}
