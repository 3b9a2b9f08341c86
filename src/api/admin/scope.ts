/**
 * What a scoped admin key may touch: types of resources, and among them those with certain labels, hosts or
 * paths. All limits that reach a type must hold, for the resource as it is and as it would become.
 *
 * A type that neither labels, hosts nor paths reach (a global rule acts on every host) must be named in
 * `resources`: a key for one host must not change what all hosts share.
 */

import type { AdminKeyScope } from "../../config/static-config.ts";
import { isObject, type JsonObject, type ResourceType } from "../../model/resource-type.ts";

/** Fields with host names. */
const HOST_FIELDS: Readonly<Record<string, readonly string[]>> = {
  routes: ["host", "hosts"],
  services: ["hosts"],
  ssls: ["sni", "snis"],
  stream_routes: ["sni"],
};
const PATH_FIELDS: Readonly<Record<string, readonly string[]>> = { routes: ["uri", "uris"] };

export class KeyScope {
  readonly #scope: AdminKeyScope;

  constructor(scope: AdminKeyScope) {
    this.#scope = scope;
  }

  /** Why the key may not touch any resource of the type; null: it may touch some. */
  refusalOfType(type: ResourceType): string | null {
    const { resources, labels, hosts, uriPrefixes } = this.#scope;
    if (resources !== null) {
      const may = (resources as readonly string[]).includes(type.plural);
      return may ? null : `${type.plural} are not among its resources (${resources.join(", ")})`;
    }
    const isReached =
      (labels !== null && hasLabels(type)) ||
      (hosts !== null && Object.hasOwn(HOST_FIELDS, type.plural)) ||
      (uriPrefixes !== null && Object.hasOwn(PATH_FIELDS, type.plural));
    return isReached ? null : `it is limited, and ${type.plural} are not among its resources`;
  }

  /** Why the key may not touch this resource; null: it may. `value` is valid. */
  refusalOf(type: ResourceType, value: JsonObject): string | null {
    return (
      this.refusalOfType(type) ??
      this.#refusalOfLabels(type, value) ??
      this.#refusalOfHosts(type, value) ??
      this.#refusalOfPaths(type, value)
    );
  }

  /** The same for the resource above, or one that is acted on: its type need not be among the key's. */
  refusalOfParent(type: ResourceType, value: JsonObject): string | null {
    return (
      this.#refusalOfLabels(type, value) ??
      this.#refusalOfHosts(type, value) ??
      this.#refusalOfPaths(type, value)
    );
  }

  #refusalOfLabels(type: ResourceType, value: JsonObject): string | null {
    const { labels } = this.#scope;
    if (labels === null || !hasLabels(type)) return null;
    const given = isObject(value["labels"]) ? value["labels"] : {};
    for (const [name, wanted] of Object.entries(labels)) {
      if (Object.hasOwn(given, name) && given[name] === wanted) continue;
      return `the resource must have the label ${name} with the value ${wanted}`;
    }
    return null;
  }

  #refusalOfHosts(type: ResourceType, value: JsonObject): string | null {
    const { hosts } = this.#scope;
    const fields = HOST_FIELDS[type.plural];
    if (hosts === null || fields === undefined) return null;
    const given = textsOf(value, fields);
    if (given.length === 0) return `the resource must name its hosts, of ${hosts.join(", ")}`;
    const foreign = given.find((host) => !hosts.some((allowed) => coversHost(allowed, host)));
    return foreign === undefined ? null : `the host ${foreign} is not among ${hosts.join(", ")}`;
  }

  #refusalOfPaths(type: ResourceType, value: JsonObject): string | null {
    const { uriPrefixes } = this.#scope;
    const fields = PATH_FIELDS[type.plural];
    if (uriPrefixes === null || fields === undefined) return null;
    const given = textsOf(value, fields);
    const foreign = given.find((uri) => !uriPrefixes.some((prefix) => coversPath(prefix, uri)));
    if (foreign === undefined && given.length > 0) return null;
    return `the path ${foreign ?? ""} is not below ${uriPrefixes.join(", ")}`;
  }
}

function hasLabels(type: ResourceType): boolean {
  const { properties } = type.schema as { properties?: object };
  return properties !== undefined && Object.hasOwn(properties, "labels");
}

function textsOf(value: JsonObject, fields: readonly string[]): string[] {
  return fields
    .flatMap((field): unknown => value[field])
    .filter((text): text is string => typeof text === "string");
}

/** "*.a.com" covers every host below a.com, patterns included, and not a.com itself. */
function coversHost(allowed: string, host: string): boolean {
  const name = host.toLowerCase();
  const wanted = allowed.toLowerCase();
  if (name === wanted) return true;
  return wanted.startsWith("*.") && name.endsWith(wanted.slice(1)) && name.length >= wanted.length;
}

/** "/a" covers "/a" and what is below "/a/", not "/ab" nor "/a*". */
function coversPath(prefix: string, uri: string): boolean {
  if (uri === prefix) return true;
  return uri.startsWith(prefix.endsWith("/") ? prefix : `${prefix}/`);
}
