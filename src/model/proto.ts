/**
 * Descriptions of gRPC services, as the text of a `.proto` file or as a descriptor set in base64. They are compiled when
 * they are written, and again where the store brings them; workers get descriptors and parse no text.
 */

import { Type } from "../lib/schema.ts";
import { compileProto, ProtoError } from "./proto/compile.ts";
import type { PublishedProto } from "./published.ts";
import { refused } from "./resource-type.ts";
import type { ResourceType } from "./resource-type.ts";
import { described, strictObject } from "./schema-parts.ts";

const MEBIBYTE = 1024 ** 2;

/** What was compiled last: each content is checked first, and then turned into what workers get. */
let last = { content: "", descriptors: "" };

export const protoType: ResourceType<PublishedProto> = {
  plural: "protos",
  singular: "proto",
  title: "proto",
  schema: strictObject({ ...described, content: Type.String({ minLength: 1, maxLength: MEBIBYTE }) }),
  id: { field: "id", generated: true },
  methods: ["GET", "PUT", "POST", "DELETE"],
  references: [],
  inUse: (title, id) =>
    `can not delete this proto, ${title.replace("plugin in ", "")} [${id}] is still using it now`,
  check(value) {
    try {
      descriptorsOf(value["content"] as string);
      return null;
    } catch (error) {
      if (!(error instanceof ProtoError)) throw error;
      return refused(`invalid content: ${error.message}`, "/content");
    }
  },
  normalize: (id, value) => ({ id, descriptors: descriptorsOf(value["content"] as string) }),
};

function descriptorsOf(content: string): string {
  if (last.content !== content) last = { content, descriptors: compileProto(content) };
  return last.descriptors;
}
