/**
 * Who is refused, whatever routes and plugins say: a route, a stream route, a service, a consumer, addresses, or what several of these
 * have in common. Made for the moment in which something must stop: live on all workers of the node before it is answered,
 * and gone without a trace when it is deleted or its time is over.
 *
 * Cardea's own: in an etcd that APISIX reads too, it is a prefix that APISIX does not know.
 */

import { Type } from "../lib/schema.ts";
import type { PublishedBlock } from "./published.ts";
import { idText, refused } from "./resource-type.ts";
import type { JsonObject, ModelContext, ResourceType, ValidationError } from "./resource-type.ts";
import { AddressOrCidr, described, Id, strictObject } from "./schema-parts.ts";

const STATUS = 403;
const MAX_BODY_LENGTH = 65_536;
const MAX_ADDRESSES = 10_000;

/** Fields that say who is meant; a request must fit all that are there. */
const TARGETS = ["route_id", "stream_route_id", "service_id", "consumer", "addresses"] as const;

/** Things that a block may name and that should be there. */
const NAMED = [
  ["route_id", "routes", "route"],
  ["stream_route_id", "stream_routes", "stream route"],
  ["service_id", "services", "service"],
  ["consumer", "consumers", "consumer"],
] as const;

export const blockType: ResourceType<PublishedBlock> = {
  plural: "blocks",
  singular: "block",
  title: "block",
  alias: "block",
  schema: strictObject(
    {
      ...described,
      route_id: Type.Optional(Id),
      stream_route_id: Type.Optional(Id),
      service_id: Type.Optional(Id),
      consumer: Type.Optional(Type.String({ minLength: 1, maxLength: 256 })),
      addresses: Type.Optional(
        Type.Array(AddressOrCidr, { minItems: 1, maxItems: MAX_ADDRESSES, uniqueItems: true }),
      ),
      status: Type.Optional(Type.Integer({ minimum: 200, maximum: 599, default: STATUS })),
      body: Type.Optional(Type.String({ maxLength: MAX_BODY_LENGTH })),
      reason: Type.Optional(Type.String({ maxLength: 1024 })),
      expiry: Type.Optional(Type.Integer({ minimum: 1 })),
      close_connections: Type.Optional(Type.Boolean({ default: false })),
    },
    { anyOf: TARGETS.map((field) => ({ required: [field] })) },
  ),
  id: { field: "id", generated: true },
  methods: ["GET", "PUT", "POST", "PATCH", "DELETE"],
  isLiveWhenAnswered: true,
  expiryField: "expiry",
  // A block must neither keep what it names from being deleted, nor end with it.
  references: [],
  inUse: null,
  check: checkNamed,
  normalize: normalizeBlock,
};

/** A block of something that is not there is a slip: nothing would be blocked. */
function checkNamed(value: JsonObject, context: ModelContext): ValidationError | null {
  const [route, streamRoute] = [value["route_id"], value["stream_route_id"]];
  if (route !== undefined && streamRoute !== undefined)
    return refused("stream_route_id: nothing comes by a route and by a stream route", "/stream_route_id");
  if (context.get === undefined) return null;
  for (const [field, plural, title] of NAMED) {
    const id = idText(value[field]);
    if (id === undefined || context.get(plural, id) !== undefined) continue;
    return refused(`${field}: there is no ${title} [${id}]`, `/${field}`);
  }
  return null;
}

function normalizeBlock(id: string, value: JsonObject): PublishedBlock {
  const block: PublishedBlock = {
    id,
    status: (value["status"] as number | undefined) ?? STATUS,
    close_connections: value["close_connections"] === true,
  };
  if (value["route_id"] !== undefined) block.route_id = idText(value["route_id"]);
  if (value["stream_route_id"] !== undefined) block.stream_route_id = idText(value["stream_route_id"]);
  if (value["service_id"] !== undefined) block.service_id = idText(value["service_id"]);
  if (value["consumer"] !== undefined) block.consumer = value["consumer"] as string;
  if (value["addresses"] !== undefined) block.addresses = value["addresses"] as string[];
  if (value["body"] !== undefined) block.body = value["body"] as string;
  if (value["expiry"] !== undefined) block.expiry = value["expiry"] as number;
  return block;
}
