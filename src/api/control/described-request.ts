/**
 * The body of `POST /v1/explain`: a request in words. Only `uri` must be given. What the HTTP parser would refuse is
 * refused here, with the field and what was expected of it.
 */

import { isIP } from "node:net";
import { isObject, type JsonObject } from "../../model/resource-type.ts";
import type { DescribedRequest } from "../../shared/explanation.ts";

const FIELDS = new Set([
  "method",
  "uri",
  "host",
  "headers",
  "client_address",
  "scheme",
  "port",
  "body",
  "consumer",
  "route",
]);
/** RFC 9110 section 5.6.2. */
const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
const AUTHORITY = /^(?:\[[0-9a-f:.]+\]|[^\s/?#@:[\]]+)(?::\d{1,5})?$/i;
const MAX_HEADERS = 100;
const PORTS = { http: 80, https: 443 } as const;

/** Names the field that is wrong. */
export class DescriptionError extends Error {
  override name = "DescriptionError";
}

/** Throws `DescriptionError`. */
export function describedRequest(body: unknown): DescribedRequest {
  if (!isObject(body)) throw new DescriptionError('expected an object, as in {"uri": "/a"}');
  const unknown = Object.keys(body).find((name) => !FIELDS.has(name));
  if (unknown !== undefined) wrong(unknown, body[unknown], `one of the fields ${[...FIELDS].join(", ")}`);
  const place = placeOf(body);
  const port = body["port"] ?? PORTS[place.scheme];
  if (typeof port !== "number" || !Number.isInteger(port) || port < 1 || port > 65_535) {
    wrong("port", port, "a port number");
  }
  const address = text(body, "client_address") ?? "127.0.0.1";
  if (isIP(address) === 0) wrong("client_address", address, "an IP address");
  const method = text(body, "method") ?? "GET";
  if (!TOKEN.test(method)) wrong("method", method, "an HTTP method");
  return {
    method,
    ...place,
    headers: headersOf(body["headers"]),
    clientAddress: address,
    serverPort: port,
    body: text(body, "body") ?? null,
    consumer: text(body, "consumer") ?? null,
    route: typeof body["route"] === "number" ? String(body["route"]) : (text(body, "route") ?? null),
  };
}

/** `uri` may be a whole URL; `host` and `scheme` say what it leaves open, and win. */
function placeOf(body: JsonObject): Pick<DescribedRequest, "authority" | "target" | "scheme"> {
  const uri = text(body, "uri");
  if (uri === undefined || uri === "") wrong("uri", uri, 'a path, as in "/a?b=1", or a URL');
  const url = /^(https?):\/\/([^/?#]+)([^#]*)$/i.exec(uri);
  if (url === null && !uri.startsWith("/") && uri !== "*") wrong("uri", uri, "a path or a URL");
  // Clients percent-encode what a target cannot hold, and so are those of this API allowed to leave it to us.
  const rest = url === null ? uri : url[3];
  const target = (rest.startsWith("/") || rest === "*" ? rest : `/${rest}`).replace(/[^!-~]/gu, encode);
  const scheme = text(body, "scheme") ?? url?.[1].toLowerCase() ?? "http";
  if (scheme !== "http" && scheme !== "https") wrong("scheme", scheme, "http or https");
  const authority = (text(body, "host") ?? hostIn(body["headers"]) ?? url?.[2] ?? "").toLowerCase();
  if (authority !== "" && !AUTHORITY.test(authority))
    wrong("host", authority, "a host, with a port or without");
  return { authority, target, scheme };
}

/** A lone surrogate cannot be encoded; the router finds no valid reading for it. */
function encode(character: string): string {
  return encodeURIComponent(character.toWellFormed());
}

function hostIn(headers: unknown): string | undefined {
  if (!isObject(headers)) return undefined;
  const name = Object.keys(headers).find((key) => key.toLowerCase() === "host");
  const value = name === undefined ? undefined : headers[name];
  return typeof value === "string" ? value : undefined;
}

function headersOf(headers: unknown): [string, string][] {
  if (headers === undefined) return [];
  if (!isObject(headers)) wrong("headers", headers, 'an object, as in {"accept": "text/html"}');
  const fields: [string, string][] = [];
  for (const [name, given] of Object.entries(headers)) {
    if (name.toLowerCase() === "host") continue;
    if (!TOKEN.test(name)) wrong("headers", name, "names of header fields");
    for (const value of Array.isArray(given) ? (given as unknown[]) : [given]) {
      const isText = typeof value === "string" || typeof value === "number";
      // oxlint-disable-next-line no-control-regex -- exactly these split or end a field
      if (!isText || /[\0\r\n]/.test(String(value))) wrong(`headers.${name}`, value, "a line of text");
      fields.push([name, String(value)]);
    }
  }
  if (fields.length > MAX_HEADERS) wrong("headers", fields.length, `at most ${MAX_HEADERS} fields`);
  return fields;
}

function text(body: JsonObject, field: string): string | undefined {
  const value = body[field];
  if (value !== undefined && typeof value !== "string") wrong(field, value, "text");
  return value;
}

function wrong(field: string, given: unknown, expected: string): never {
  const shown = given === undefined ? "nothing" : JSON.stringify(given).slice(0, 100);
  throw new DescriptionError(`${field}: given ${shown}, expected ${expected}`);
}
