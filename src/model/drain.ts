/**
 * A node that is taken out by hand on every gateway of the store. Made by
 * `POST /upstreams/{id}/nodes/{host:port}/drain` of the Admin API; it holds until it is deleted.
 *
 * It stands among the resources, so that every gateway hears of it in order with them, and one that starts later knows it
 * before it serves. Cardea's own: in an etcd that APISIX reads too, it is a prefix that APISIX does not know.
 */

import { createHash } from "node:crypto";
import { Type } from "../lib/schema.ts";
import type { PublishedDrain } from "./published.ts";
import { idText, type JsonObject, type ResourceType } from "./resource-type.ts";
import { described, Id, strictObject } from "./schema-parts.ts";

/** Of the digest in an id, in hexadecimal digits. */
const ID_DIGITS = 32;

export const drainType: ResourceType<PublishedDrain> = {
  plural: "drains",
  singular: "drain",
  title: "drain",
  schema: strictObject({
    ...described,
    upstream_id: Id,
    host: Type.String({ minLength: 1, maxLength: 253 }),
    port: Type.Integer({ minimum: 0, maximum: 65_535 }),
    mark: Type.String({ minLength: 1, maxLength: 64 }),
    author: Type.Optional(Type.String({ maxLength: 256 })),
  }),
  id: { field: "id", generated: false },
  methods: ["GET", "DELETE"],
  isLiveWhenAnswered: true,
  isOperation: true,
  // A drain must neither keep its upstream from being deleted, nor end with it.
  references: [],
  inUse: null,
  normalize: normalizeDrain,
};

/** One id for one node of one upstream, whoever asks for it. */
export function drainId(upstream: string, host: string, port: number): string {
  return createHash("sha256").update(`${upstream}|${host}|${port}`).digest("hex").slice(0, ID_DIGITS);
}

function normalizeDrain(id: string, value: JsonObject): PublishedDrain {
  const { host, port, mark } = value as unknown as PublishedDrain;
  return { id, upstream_id: idText(value["upstream_id"])!, host, port, mark };
}
