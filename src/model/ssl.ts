/**
 * Certificates and their private keys: those that clients are shown (`server`), chosen by server name or by port,
 * and those that upstreams are shown (`client`). APISIX's fields, that of its plugin ocsp-stapling, `listen` and `source`.
 *
 * Promises that pairs which do not belong together, or cannot be read, are refused when they are written.
 * References to secrets are read where the certificate is used.
 */

import { isIP } from "node:net";
import { Type } from "../lib/schema.ts";
import { checkPattern } from "../lib/pattern.ts";
import { unreadableCertificate, unreadablePair } from "./certificate-check.ts";
import type { PublishedSsl } from "./published.ts";
import { isObject, refused } from "./resource-type.ts";
import type { JsonObject, PluginCatalog, ResourceType, ValidationError } from "./resource-type.ts";
import { common, Description, HOST_PATTERN, Labels, oneOf, Port, raw, Status } from "./schema-parts.ts";

const Certificate = Type.String({ minLength: 128, maxLength: 65_536 });
const PrivateKey = Type.String({ minLength: 64, maxLength: 65_536 });
const ServerName = Type.String({ pattern: HOST_PATTERN });

const HOST = new RegExp(HOST_PATTERN);
const REFRESH_S = 300;

/** APISIX has none; far more than kinds of keys. */
const MAX_LISTEN = 64;

export const sslType: ResourceType<PublishedSsl> = {
  plural: "ssls",
  singular: "ssl",
  title: "ssl",
  schema: raw({
    type: "object",
    properties: {
      ...common,
      desc: Description,
      labels: Labels,
      type: oneOf(["server", "client"], { default: "server" }),
      cert: Certificate,
      key: PrivateKey,
      sni: ServerName,
      snis: Type.Array(ServerName, { minItems: 1 }),
      listen: Type.Array(
        raw({
          type: "object",
          properties: { ip: Type.String({ pattern: "^[0-9a-fA-F.:]+$" }), port: Port },
          required: ["port"],
          additionalProperties: false,
        }),
        { minItems: 1, maxItems: MAX_LISTEN },
      ),
      source: Type.Object(
        {
          url: Type.String({ pattern: "^https://[^/?#@]+(?:[/?][^#]*)?$", maxLength: 2048 }),
          client_cert: Type.Optional(Certificate),
          client_key: Type.Optional(PrivateKey),
          ca: Type.Optional(Certificate),
          refresh_s: Type.Optional(Type.Integer({ minimum: 10, maximum: 86_400, default: REFRESH_S })),
        },
        { additionalProperties: false },
      ),
      certs: Type.Array(Certificate),
      keys: Type.Array(PrivateKey),
      client: Type.Object({
        ca: Certificate,
        depth: Type.Optional(Type.Integer({ minimum: 0, default: 1 })),
        skip_mtls_uri_regex: Type.Optional(Type.Array(Type.String(), { minItems: 1, uniqueItems: true })),
      }),
      ocsp_stapling: Type.Object({
        enabled: Type.Optional(Type.Boolean({ default: false })),
        skip_verify: Type.Optional(Type.Boolean({ default: false })),
        cache_ttl: Type.Optional(Type.Integer({ minimum: 60, default: 3600 })),
      }),
      status: Status,
      ssl_protocols: Type.Array(raw({ enum: ["TLSv1.1", "TLSv1.2", "TLSv1.3"] }), {
        maxItems: 3,
        uniqueItems: true,
      }),
    },
    if: { properties: { type: { enum: ["server"] } } },
    then: {
      oneOf: [
        { required: ["sni", "key", "cert"] },
        { required: ["snis", "key", "cert"] },
        {
          required: ["listen", "key", "cert"],
          not: { anyOf: [{ required: ["sni"] }, { required: ["snis"] }] },
        },
        {
          required: ["source"],
          anyOf: [{ required: ["sni"] }, { required: ["snis"] }, { required: ["listen"] }],
          not: { anyOf: [{ required: ["cert"] }, { required: ["key"] }] },
        },
      ],
    },
    else: { required: ["key", "cert"] },
    additionalProperties: false,
  }),
  secretReferences: true,
  privateKeys: [["key"], ["keys"], ["source", "client_key"]],
  id: { field: "id", generated: true },
  methods: ["GET", "PUT", "POST", "PATCH", "DELETE"],
  references: [],
  inUse: (title, id) => `can not delete this ssl, ${title} [${id}] is still using it now`,
  check: (value) => checkListen(value) ?? checkSource(value) ?? checkPairs(value) ?? checkClient(value),
  normalize: normalizeSsl,
  closed: closedSsl,
};

function checkSource({ type, source, cert, certs, keys }: JsonObject): ValidationError | null {
  if (!isObject(source)) return null;
  if (type === "client") return refused("source is for certificates of type server", "/source");
  if ([cert, certs, keys].some((other) => other !== undefined))
    return refused("either source or cert, key, certs and keys", "/source");
  if (URL.parse(source["url"] as string) === null) return refused("url cannot be read", "/source/url");
  const { client_cert: own, client_key: key, ca } = source;
  if ((own === undefined) !== (key === undefined))
    return refused("client_cert and client_key belong together", "/source");
  const references = [own, key, ca].filter((text) => typeof text === "string" && text.startsWith("$secret:"));
  if (references.length > 0) return refused("$env:// may stand in source, $secret:// not", "/source");
  if (own !== undefined) {
    const fault = unreadablePair(own, key);
    if (fault !== null)
      return refused(
        `source: ${fault}`,
        fault.startsWith("failed to parse cert") ? "/source/client_cert" : "/source/client_key",
      );
  }
  const reason = ca === undefined ? null : unreadableCertificate(ca);
  return reason === null ? null : refused(`source.ca: ${reason}`, "/source/ca");
}

function checkListen(value: JsonObject): ValidationError | null {
  for (const [i, place] of listOf(value["listen"]).entries()) {
    const ip = isObject(place) ? place["ip"] : undefined;
    if (typeof ip === "string" && isIP(ip) === 0)
      return refused(`listen: item ${i + 1}: ip: given "${ip}", expected an IP address`, `/listen/${i}/ip`);
  }
  return null;
}

function checkPairs(value: JsonObject): ValidationError | null {
  if (value["source"] !== undefined) return null;
  const fault = unreadablePair(value["cert"], value["key"]);
  if (fault !== null) return refused(fault, fault.startsWith("failed to parse cert") ? "/cert" : "/key");
  if (value["type"] === "client") return null;
  const certs = listOf(value["certs"]);
  const keys = listOf(value["keys"]);
  if (certs.length !== keys.length) {
    const pointer = certs.length > keys.length ? "/keys" : "/certs";
    return refused("mismatched number of certs and keys", pointer);
  }
  for (let i = 0; i < certs.length; i++) {
    const reason = unreadablePair(certs[i], keys[i]);
    if (reason !== null) return refused(`failed to handle cert-key pair[${i + 1}]: ${reason}`, `/certs/${i}`);
  }
  return null;
}

function checkClient(value: JsonObject): ValidationError | null {
  if (value["type"] === "client" || !isObject(value["client"])) return null;
  const reason = unreadableCertificate(value["client"]["ca"]);
  if (reason !== null) return refused(`failed to validate client_cert: ${reason}`, "/client/ca");
  for (const [i, pattern] of listOf(value["client"]["skip_mtls_uri_regex"]).entries()) {
    const fault = checkPattern(pattern as string);
    if (fault !== null)
      return refused(
        `invalid regular expression ${JSON.stringify(pattern)}: ${fault}`,
        `/client/skip_mtls_uri_regex/${i}`,
      );
  }
  return null;
}

function listOf(value: unknown): unknown[] {
  return Array.isArray(value) ? (value as unknown[]) : [];
}

function normalizeSsl(id: string, value: JsonObject, _plugins: PluginCatalog, created: number): PublishedSsl {
  const names = value["sni"] === undefined ? listOf(value["snis"]) : [value["sni"]];
  const keys = listOf(value["keys"]) as string[];
  const ssl: PublishedSsl = {
    id,
    type: value["type"] === "client" ? "client" : "server",
    created,
    enabled: value["status"] !== 0,
    names: names.map((name) => (name as string).toLowerCase().replace(/\.$/, "")),
    listen: listOf(value["listen"]) as PublishedSsl["listen"],
    pairs: [{ cert: value["cert"] as string, key: value["key"] as string }],
  };
  for (const [i, cert] of listOf(value["certs"]).entries())
    ssl.pairs.push({ cert: cert as string, key: keys[i] });
  if (isObject(value["client"])) {
    const { ca, depth, skip_mtls_uri_regex: skip } = value["client"];
    ssl.client = { ca: ca as string, depth: typeof depth === "number" ? depth : 1 };
    if (Array.isArray(skip)) ssl.client.skip_mtls_uri_regex = skip as string[];
  }
  const { ocsp_stapling: stapling, source } = value;
  if (isObject(source)) {
    ssl.source = { refresh_s: REFRESH_S, ...(source as unknown as { url: string }) };
    // What a worker tells that has none: no text that it could take for a certificate.
    ssl.pairs = [{ cert: `$source://${id}`, key: `$source://${id}` }];
  }
  if (isObject(stapling) && stapling["enabled"] === true && ssl.type === "server") {
    const { skip_verify: trusts, cache_ttl: ttl } = stapling;
    ssl.ocsp = { skip_verify: trusts === true, cache_ttl: typeof ttl === "number" ? ttl : 3600 };
  }
  const versions = listOf(value["ssl_protocols"]);
  if (versions.length > 0) ssl.versions = (versions as NonNullable<PublishedSsl["versions"]>).toSorted();
  return ssl;
}

/**
 * Where client certificates are asked for, a certificate that cannot be used must not leave its names to a wider one
 * that asks for none: workers know the names, refuse handshakes for them, and requests to them on other connections.
 */
function closedSsl(id: string, value: JsonObject, created: number): PublishedSsl | null {
  const { client, type, status, sni, snis } = value;
  if (client === undefined || client === null || type === "client" || status === 0) return null;
  const names = [sni, ...listOf(snis)].filter((name) => typeof name === "string");
  const listen = listOf(value["listen"]).filter(isPlace);
  if (names.length === 0 && listen.length === 0) return null;
  const nothing = `$quarantine://${id}`;
  return {
    id,
    type: "server",
    created,
    enabled: true,
    names: names.filter((name) => HOST.test(name)).map((name) => name.toLowerCase().replace(/\.$/, "")),
    listen,
    pairs: [{ cert: nothing, key: nothing }],
    client: { ca: nothing, depth: 1 },
  };
}

function isPlace(place: unknown): place is PublishedSsl["listen"][number] {
  if (!isObject(place) || !Number.isInteger(place["port"])) return false;
  return place["ip"] === undefined || typeof place["ip"] === "string";
}
