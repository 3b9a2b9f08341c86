/** Fields of `grpc-transcode`. Names, bounds and defaults are APISIX's. */

import type { Static } from "@sinclair/typebox";
import { Type } from "../../plugin/index.ts";
import { oneOf } from "../../plugin/schema.ts";
import { Id } from "../../plugin/upstream-config.ts";

const DEFAULT_OPTIONS = ["enum_as_name", "int64_as_number", "auto_default_values", "disable_hooks"] as const;

/** By what they decide; of several for one thing, the last in the order of the alphabet holds. */
const OPTIONS = [
  oneOf(["enum_as_name", "enum_as_value"], { description: "enum as result" }),
  oneOf(["int64_as_number", "int64_as_string", "int64_as_hexstring"], { description: "int64 as result" }),
  oneOf(["auto_default_values", "no_default_values", "use_default_values", "use_default_metatable"], {
    description: "default values option",
  }),
  oneOf(["enable_hooks", "disable_hooks"], { description: "hooks option" }),
];

export const Config = Type.Object({
  proto_id: Type.Unsafe<string | number>({
    ...Id,
    description: "The proto resource that describes the service",
  }),
  service: Type.String({ description: "Name of the service with its package, `helloworld.Greeter`" }),
  method: Type.String({ description: "Name of the method; it neither takes nor gives a stream" }),
  deadline: Type.Number({
    default: 0,
    description: "Milliseconds that the call may take; the upstream is told. 0: no bound of its own",
  }),
  pb_option: Type.Array(Type.Unsafe<string>({ type: "string", anyOf: OPTIONS }), {
    minItems: 1,
    default: [...DEFAULT_OPTIONS],
    description: "How answers are written as JSON",
  }),
  show_status_in_body: Type.Boolean({
    default: false,
    description: "Calls that fail are answered with a body that says why",
  }),
  status_detail_type: Type.Optional(
    Type.String({ description: "Message type of the details of such a body; absent: they stay encoded" }),
  ),
  max_resp_body_size: Type.Integer({
    minimum: 1,
    default: 67_108_864,
    description: "Bytes of an answer that are kept to be read; a longer one becomes 502",
  }),
});

export type TranscodeConfig = Static<typeof Config>;
