/**
 * Values of `$secret://vault/...`: read from the key-value engine of a Vault, version 1 or 2, over its HTTP API with a token.
 *
 * With version 2 the prefix has `data` behind the mount, as the path of Vault's API has. Everything at one path is one
 * answer, so a certificate and its key that stand there always belong together.
 *
 * Source: the API documentation of Vault, "KV secrets engine" versions 1 and 2, and "Namespaces".
 */

import { isObject, type JsonObject } from "../../model/resource-type.ts";
import { resolveReference } from "../../lib/environment-reference.ts";
import type { RegistryClient } from "../discovery/registry-client.ts";
import type { FetchPlan } from "./fetched-values.ts";

const REFERENCE = /^\$secret:\/\/([^/]+\/[^/]+)\/(.+)\/([^/]+)$/;
const UPWARDS = /^(?:\.|%2e){1,2}$/i;
/** What URLs, or servers once they have decoded it, take for a slash or leave out. */
const HIDDEN_STEP = /[\\\p{Cc}]|%(?:2f|5c|[01][0-9a-f]|7f)/iu;
const MAX_ANSWER_BYTES = 1024 ** 2;
const TIMEOUTS = { connectMs: 5000, readMs: 5000 };
const PAUSE_MS = 300_000;
const LEAST_PAUSE_MS = 5000;

export interface SecretReference {
  /** Of the `secrets` resource: "vault/1". */
  id: string;
  /** Below its prefix. */
  path: string;
  field: string;
}

/** Null: it is none. */
export function secretReference(text: string): SecretReference | null {
  const parts = REFERENCE.exec(text);
  return parts === null ? null : { id: parts[1], path: parts[2], field: parts[3] };
}

export interface SecretSources {
  /** The resource with this id; undefined: there is none that can be used. */
  secretOf(id: string): JsonObject | undefined;
  client: RegistryClient;
  authorities(): string[];
  isOwn(url: URL): boolean;
}

/** The value that is fetched is an object of all fields at the path, as JSON. */
export function secretPlan({ id, path }: SecretReference, sources: SecretSources): FetchPlan {
  return {
    key: `secret ${JSON.stringify([id, path])}`,
    type: "secret",
    shown: `${id}/${path}`,
    async fetch(signal) {
      const secret = sources.secretOf(id);
      if (secret === undefined) throw new Error(`there is no secret ${id}`);
      if (!id.startsWith("vault/")) throw new Error(`the manager of ${id} is not asked, vault alone is`);
      const url = urlOf(secret, path);
      if (sources.isOwn(url)) throw new Error(`${url.host} is a listener of this node`);
      const token = resolveReference(String(secret["token"]));
      if (token === undefined) {
        throw new Error(
          `the token of ${id} is given as ${secret["token"] as string}, which has no value here`,
        );
      }
      const { namespace } = secret;
      const answer = await sources.client.askJson({
        url,
        headers: {
          "x-vault-token": token,
          "x-vault-request": "true",
          ...(typeof namespace === "string" && { "x-vault-namespace": namespace }),
        },
        ca: url.protocol === "https:" ? sources.authorities() : undefined,
        timeouts: TIMEOUTS,
        maxBytes: MAX_ANSWER_BYTES,
        signal,
      });
      const fields = fieldsOf(answer);
      if (fields === null) throw new Error(`${url.host}: an answer without data`);
      return { value: JSON.stringify(fields), pauseMs: pauseOf(answer) };
    },
  };
}

function urlOf({ uri, prefix }: JsonObject, path: string): URL {
  const url = URL.parse(String(uri));
  if (url === null || !/^https?:$/.test(url.protocol)) throw new Error("the uri is none of http or https");
  const steps = [...url.pathname.split("/"), "v1", ...String(prefix).split("/"), ...path.split("/")];
  if (steps.some((step) => UPWARDS.test(step) || HIDDEN_STEP.test(step)))
    throw new Error("the path leads upwards, or has a character that may");
  url.pathname = steps.filter((step) => step !== "").join("/");
  return url;
}

function fieldsOf(answer: unknown): JsonObject | null {
  if (!isObject(answer) || !isObject(answer["data"])) return null;
  const { data } = answer;
  const isVersioned = isObject(data["metadata"]) && typeof data["metadata"]["version"] === "number";
  if (!isVersioned) return data;
  return isObject(data["data"]) ? data["data"] : null;
}

/** Version 1 may say how long a reader shall keep it. */
function pauseOf(answer: unknown): number {
  const leaseS = isObject(answer) ? Number(answer["lease_duration"]) : 0;
  return leaseS > 0 ? Math.max(LEAST_PAUSE_MS, Math.min(PAUSE_MS, leaseS * 667)) : PAUSE_MS;
}
