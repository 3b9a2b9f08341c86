/**
 * Kong's declarative configuration (`deck dump`, `kong.yml`) as resources: services with their upstreams, routes,
 * consumers with credentials, certificates and plugins. Ids are made of names.
 *
 * Everything that is left out or behaves otherwise is reported.
 */

import { isObject, type JsonObject } from "../../model/resource-type.ts";
import type { ResourceLists } from "../resource-file.ts";
import {
  Ids,
  isCalled,
  kongEntities,
  keyOf,
  textOf,
  type KongEntities,
  type KongEntity,
} from "./kong-entities.ts";
import { convertPlugin, type ConvertedPlugin } from "./kong-plugins.ts";
import { convertRoute } from "./kong-routes.ts";
import { addressOf, type KongAddress, upstreamOf } from "./kong-upstreams.ts";
import type { ImportReport } from "./report.ts";

interface Service {
  entity: KongEntity;
  id: string;
  address: KongAddress;
  fields: JsonObject;
}

interface Plugin extends ConvertedPlugin {
  owners: KongEntity["owners"];
  place: string;
}

const REDIRECTS = new Set([301, 302, 307, 308]);
const HASHED = /^[0-9a-f]{40}$/;

/** Null: it is no such configuration. */
export function importKong(document: unknown, report: ImportReport): ResourceLists | null {
  if (!isObject(document) || document["_format_version"] === undefined) return null;
  return new KongImport(document, report).run();
}

class KongImport {
  readonly #entities: KongEntities;
  readonly #report: ImportReport;
  readonly #version: number;
  readonly #plugins: Plugin[];
  readonly #lists: ResourceLists = {};

  constructor(document: JsonObject, report: ImportReport) {
    this.#report = report;
    this.#version = Number.parseFloat(String(document["_format_version"]));
    this.#entities = kongEntities(document, report);
    this.#plugins = this.#entities.plugins.flatMap((plugin) => this.#convert(plugin));
  }

  run(): ResourceLists {
    const global = this.#globalPlugins();
    const services = this.#services(global);
    this.#routes(services, global);
    this.#consumers();
    this.#certificates();
    return this.#lists;
  }

  #convert({ fields, place, owners }: KongEntity): Plugin[] {
    const name = textOf(fields["name"], "");
    const where = `${place.replace(/ \(.*\)$/, "")} ${name}`;
    const config = isObject(fields["config"]) ? fields["config"] : {};
    const consumersIn = (groups: readonly string[]) => this.#consumersIn(groups);
    const converted = convertPlugin(name, { config, place: where, report: this.#report, consumersIn });
    if (converted === null) return [];
    if (owners["consumer"] !== undefined && Object.keys(owners).length > 1) {
      this.#report.lost(where, "a plugin for a consumer on one route or service is not carried over");
      return [];
    }
    if (fields["enabled"] === false) converted.config["_meta"] = { disable: true };
    return [{ ...converted, owners, place: where }];
  }

  /**
   * A more specific instance replaces Kong's global one, where a global rule would run as well: then the global one
   * goes to every service and to the routes without one.
   */
  #globalPlugins(): JsonObject {
    const spread: JsonObject = {};
    for (const { name, config, owners, place } of this.#plugins) {
      if (Object.keys(owners).length > 0) continue;
      const isSpread = this.#plugins.some(
        (other) => other.name === name && Object.keys(other.owners).length > 0,
      );
      if (isSpread) {
        spread[name] = config;
        this.#report.differs(
          place,
          "stands in each service, since some have their own: see to it in new ones",
        );
      } else this.#add("global_rules", { id: `kong-${name}`, plugins: { [name]: config } });
    }
    return spread;
  }

  #pluginsOf(kind: string, entity: KongEntity): JsonObject {
    const plugins: JsonObject = {};
    for (const { name, config, owners, place } of this.#plugins) {
      // Of a route inside a service, the route is the owner that counts.
      const isOwn = kind === "service" ? owners["route"] === undefined : true;
      if (!isOwn || owners[kind] === undefined || !isCalled(entity, owners[kind])) continue;
      if (plugins[name] === undefined) plugins[name] = config;
      else this.#merge(plugins, name, config, place);
    }
    return plugins;
  }

  /** Two plugins of Kong may become one here. */
  #merge(plugins: JsonObject, name: string, config: JsonObject, place: string): void {
    this.#report.differs(place, `there is ${name} already; fields of the first one win`);
    plugins[name] = { ...config, ...(plugins[name] as JsonObject) };
  }

  #services(global: JsonObject): Service[] {
    const ids = new Ids();
    const services: Service[] = [];
    for (const entity of this.#entities.services) {
      const address = addressOf(entity, this.#report);
      if (address === null) continue;
      const id = ids.make(keyOf(entity));
      const upstream = upstreamOf(entity, address, this.#entities, this.#report);
      const fields: JsonObject = { id, ...describedBy(entity), upstream };
      const plugins = { ...global, ...this.#pluginsOf("service", entity) };
      if (Object.keys(plugins).length > 0) fields["plugins"] = plugins;
      services.push({ entity, id, address, fields });
      this.#add("services", fields);
    }
    return services;
  }

  #routes(services: readonly Service[], global: JsonObject): void {
    const ids = new Ids();
    const serviceOf = (route: KongEntity) =>
      services.find(({ entity }) => isCalled(entity, route.owners["service"]));
    for (const service of services) {
      this.#passHost(
        service,
        this.#entities.routes.filter((route) => serviceOf(route) === service),
      );
    }
    for (const entity of this.#entities.routes) {
      const { fields, place, owners } = entity;
      const protocols = Array.isArray(fields["protocols"]) ? (fields["protocols"] as unknown[]) : ["http"];
      const service = serviceOf(entity);
      if (!protocols.some((protocol) => /^(?:http|grpc|ws)s?$/.test(String(protocol)))) {
        this.#report.lost(place, `protocols ${protocols.join(", ")}: only routes of HTTP are carried over`);
        continue;
      }
      if (service === undefined && owners["service"] !== undefined) {
        this.#report.lost(place, `the service ${owners["service"]} is not there`);
        continue;
      }
      const own = this.#pluginsOf("route", entity);
      if (!protocols.some((protocol) => ["http", "grpc", "ws"].includes(String(protocol)))) {
        this.#onlyHttps(entity, own);
      }
      for (const converted of convertRoute(entity, service?.address ?? null, this.#version, this.#report)) {
        const id = ids.make(keyOf(entity) + converted.suffix);
        const route: JsonObject = { id, ...describedBy(entity), ...converted.fields };
        const plugins = this.#withRewrite(service === undefined ? { ...global, ...own } : own, service, {
          ...converted.rewrite,
          ...this.#hostRewrite(entity, service),
        });
        if (service !== undefined) route["service_id"] = service.id;
        // A route needs something to do; one without a service lets its plugins answer.
        if (Object.keys(plugins).length > 0 || service === undefined) route["plugins"] = plugins;
        if (service?.entity.fields["enabled"] === false) route["status"] = 0;
        this.#add("routes", route);
      }
    }
  }

  /** Kong sends the node's name as Host, unless a route preserves the client's. */
  #passHost({ fields }: Service, routes: readonly KongEntity[]): void {
    const upstream = fields["upstream"] as JsonObject;
    const isPreserved = routes.some((route) => route.fields["preserve_host"] === true);
    if (upstream["pass_host"] === undefined || isPreserved)
      upstream["pass_host"] = isPreserved ? "pass" : "node";
    if (isPreserved) delete upstream["upstream_host"];
  }

  #hostRewrite({ fields, place }: KongEntity, service: Service | undefined): JsonObject {
    if (service === undefined || fields["preserve_host"] === true) return {};
    const { nodes, pass_host: mode } = service.fields["upstream"] as {
      nodes: JsonObject[];
      pass_host: string;
    };
    if (mode !== "pass") return {};
    if (nodes.length === 1) return { host: String(nodes[0]["host"]) };
    this.#report.differs(
      place,
      "the client's Host is sent on, since another route of the service preserves it",
    );
    return {};
  }

  /** An instance on the route hides that of its service: it takes over what that one says. */
  #withRewrite(own: JsonObject, service: Service | undefined, rewrite: JsonObject): JsonObject {
    if (Object.keys(rewrite).length === 0 && own["proxy-rewrite"] === undefined) return own;
    const inherited = (service?.fields["plugins"] as JsonObject | undefined)?.["proxy-rewrite"] as
      | JsonObject
      | undefined;
    const isOwn = own["proxy-rewrite"] !== undefined;
    const base = isOwn ? (own["proxy-rewrite"] as JsonObject) : inherited;
    return { ...own, "proxy-rewrite": { ...base, ...rewrite } };
  }

  #onlyHttps({ fields, place }: KongEntity, plugins: JsonObject): void {
    const status = fields["https_redirect_status_code"];
    if (typeof status === "number" && REDIRECTS.has(status)) {
      plugins["redirect"] = { http_to_https: true, ret_code: status };
    } else this.#report.differs(place, "the route is for https alone; here it takes http as well");
  }

  #consumers(): void {
    const ids = new Ids(/[^a-zA-Z0-9_-]+/g);
    for (const entity of this.#entities.consumers) {
      const { fields, place } = entity;
      const name = keyOf(entity);
      const username = ids.make(name);
      if (username !== name) this.#report.differs(place, `its name becomes ${username}`);
      const consumer: JsonObject = { username, ...describedBy(entity) };
      delete consumer["name"];
      if (typeof fields["custom_id"] === "string") {
        consumer["labels"] = { ...(consumer["labels"] as JsonObject), custom_id: fields["custom_id"] };
      }
      const plugins = this.#pluginsOf("consumer", entity);
      if (Object.keys(plugins).length > 0) consumer["plugins"] = plugins;
      this.#add("consumers", consumer);
      this.#credentials(entity, username);
    }
  }

  #credentials(consumer: KongEntity, username: string): void {
    const of = (kind: "keyauth_credentials" | "basicauth_credentials") =>
      this.#entities[kind].filter(({ owners }) => isCalled(consumer, owners["consumer"]));
    const add = (id: string, plugin: string, config: JsonObject) =>
      this.#add("consumers", { id: `${username}/credentials/${id}`, plugins: { [plugin]: config } });
    for (const [i, { fields, place }] of of("keyauth_credentials").entries()) {
      if (typeof fields["key"] === "string") add(`key-${i + 1}`, "key-auth", { key: fields["key"] });
      else this.#report.lost(place, "the file does not hold the key");
    }
    for (const [i, { fields, place }] of of("basicauth_credentials").entries()) {
      const { username: login, password } = fields;
      if (typeof login !== "string" || typeof password !== "string") {
        this.#report.lost(place, "the file does not hold name and password");
      } else if (HASHED.test(password)) {
        this.#report.lost(place, "the password is a digest; nobody could log in with it");
      } else add(`basic-${i + 1}`, "basic-auth", { username: login, password });
    }
  }

  #certificates(): void {
    const ids = new Ids();
    for (const entity of this.#entities.certificates) {
      const { cert, key } = entity.fields;
      const snis = this.#entities.snis
        .filter(({ owners }) => isCalled(entity, owners["certificate"]))
        .map(({ fields }) => fields["name"])
        .filter((name) => typeof name === "string");
      if (snis.length === 0)
        this.#report.lost(entity.place, "a certificate without snis is not carried over");
      else this.#add("ssls", { id: ids.make(snis[0]), snis, cert, key });
    }
  }

  #consumersIn(groups: readonly string[]): string[] {
    const members = this.#entities.consumers.filter((consumer) =>
      this.#entities.acls.some(
        ({ fields, owners }) =>
          groups.includes(String(fields["group"])) && isCalled(consumer, owners["consumer"]),
      ),
    );
    return members.map((consumer) => keyOf(consumer).replace(/[^a-zA-Z0-9_-]+/g, "-"));
  }

  #add(type: string, resource: JsonObject): void {
    (this.#lists[type] ??= []).push(resource);
  }
}

function describedBy({ fields }: KongEntity): JsonObject {
  const described: JsonObject = {};
  if (typeof fields["name"] === "string") described["name"] = fields["name"];
  const tags = Array.isArray(fields["tags"]) ? (fields["tags"] as unknown[]) : [];
  const labels = tags.map(String).filter((tag) => /^\S+$/.test(tag));
  if (labels.length > 0) described["labels"] = Object.fromEntries(labels.map(labelOf));
  return described;
}

/** "team:a" is a label with a value. */
function labelOf(tag: string): [string, string] {
  const at = tag.indexOf(":");
  return at > 0 && at < tag.length - 1 ? [tag.slice(0, at), tag.slice(at + 1)] : [tag, "true"];
}
