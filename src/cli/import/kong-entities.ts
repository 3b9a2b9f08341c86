/**
 * Kong's declarative file as flat lists: what stands inside another entity gets a reference to it, as what stands at the
 * top has. Entities are referred to by name or id.
 */

import { isObject, type JsonObject } from "../../model/resource-type.ts";
import type { ImportReport } from "./report.ts";

export interface KongEntity {
  fields: JsonObject;
  /** For reports: "services[0] (users)". */
  place: string;
  /** Entities that it belongs to, by kind ("service"): their name or id. */
  owners: Readonly<Record<string, string>>;
}

export type KongEntities = Readonly<Record<KongKind, readonly KongEntity[]>>;

const KINDS = [
  "services",
  "routes",
  "upstreams",
  "targets",
  "consumers",
  "plugins",
  "certificates",
  "snis",
  "acls",
  "keyauth_credentials",
  "basicauth_credentials",
] as const;
type KongKind = (typeof KINDS)[number];

/** What may stand inside what, and as what the outer one is referred to. */
const NESTED: Readonly<Record<string, { as: string; kinds: readonly KongKind[] }>> = {
  services: { as: "service", kinds: ["routes", "plugins"] },
  routes: { as: "route", kinds: ["plugins"] },
  upstreams: { as: "upstream", kinds: ["targets"] },
  consumers: { as: "consumer", kinds: ["plugins", "acls", "keyauth_credentials", "basicauth_credentials"] },
  certificates: { as: "certificate", kinds: ["snis"] },
};
const OWNERS = ["service", "route", "upstream", "consumer", "certificate"];
/** Say nothing about traffic. */
const IGNORED = new Set(["_format_version", "_transform", "_comment", "_info", "_ignore", "_workspace"]);
/** Inside consumers: credentials of plugins that are not carried over. */
const OTHER_CREDENTIALS = [
  "jwt_secrets",
  "hmacauth_credentials",
  "oauth2_credentials",
  "mtls_auth_credentials",
];

export function kongEntities(document: JsonObject, report: ImportReport): KongEntities {
  const found: Record<string, KongEntity[]> = Object.fromEntries(KINDS.map((kind) => [kind, []]));
  for (const [name, list] of Object.entries(document)) {
    if (isKind(name)) gather(name, list, "", {}, found, report);
    else if (!IGNORED.has(name)) report.lost(name, "this kind of entity is not carried over");
  }
  return found as Record<KongKind, KongEntity[]>;
}

function gather(
  kind: KongKind,
  list: unknown,
  outer: string,
  owners: Record<string, string>,
  found: Record<string, KongEntity[]>,
  report: ImportReport,
): void {
  for (const [i, item] of (Array.isArray(list) ? (list as unknown[]) : []).entries()) {
    const place = `${outer}${kind}[${i}]`;
    // Names alone, as older files have them.
    const fields = kind === "snis" && typeof item === "string" ? { name: item } : item;
    if (!isObject(fields)) {
      report.lost(place, "expected a map, the entity");
      continue;
    }
    const label = labelOf(fields);
    const entity: KongEntity = {
      fields,
      place: label === null ? place : `${place} (${label})`,
      owners: { ...ownersIn(fields), ...owners },
    };
    found[kind].push(entity);
    const nested = NESTED[kind];
    if (nested === undefined) continue;
    const own = { ...owners, [nested.as]: keyOf(entity) };
    for (const inner of nested.kinds) gather(inner, fields[inner], `${place}.`, own, found, report);
    for (const other of OTHER_CREDENTIALS) {
      if (Array.isArray(fields[other]))
        report.lost(`${entity.place}.${other}`, "these credentials are not carried over");
    }
  }
}

/** How others refer to it; what has neither name nor id has no others. */
export function keyOf({ fields, place }: KongEntity): string {
  return labelOf(fields) ?? place;
}

function labelOf(fields: JsonObject): string | null {
  const name = fields["name"] ?? fields["username"] ?? fields["id"];
  return typeof name === "string" ? name : null;
}

/** Whether `reference` (a name or an id) means this one. */
export function isCalled(entity: KongEntity, reference: string | undefined): boolean {
  if (reference === undefined) return false;
  const { name, username, id } = entity.fields;
  return [name, username, id, entity.place].includes(reference) || keyOf(entity) === reference;
}

/** Text and numbers; anything else is `otherwise`. */
export function textOf(value: unknown, otherwise: string): string {
  return typeof value === "string" || typeof value === "number" ? String(value) : otherwise;
}

function ownersIn(fields: JsonObject): Record<string, string> {
  const owners: Record<string, string> = {};
  for (const kind of OWNERS) {
    const owner = fields[kind];
    const reference = isObject(owner) ? (owner["name"] ?? owner["username"] ?? owner["id"]) : owner;
    if (typeof reference === "string") owners[kind] = reference;
  }
  return owners;
}

function isKind(name: string): name is KongKind {
  return (KINDS as readonly string[]).includes(name);
}

/** An id of its own for each entity: letters, digits, "-", "_" and "." of its name. */
export class Ids {
  readonly #taken = new Set<string>();
  readonly #pattern: RegExp;

  /** `pattern`: what is replaced by "-". */
  constructor(pattern = /[^a-zA-Z0-9\-_.]+/g) {
    this.#pattern = pattern;
  }

  make(name: string): string {
    const plain = name.replace(this.#pattern, "-").slice(0, 56) || "unnamed";
    let id = plain;
    for (let n = 2; this.#taken.has(id); n++) id = `${plain}-${n}`;
    this.#taken.add(id);
    return id;
  }
}
