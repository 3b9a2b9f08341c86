/**
 * `request-id`: gives every request an id, in a header to the upstream and, unless told otherwise, in the answer.
 *
 * An id that the client sends is kept. The id is the variable `$apisix_request_id` too.
 */

import { definePlugin, Type } from "../../plugin/index.ts";
import { oneOf } from "../../plugin/schema.ts";
import { isFieldName } from "../../lib/field-value.ts";
import { ksuid, nanoid, rangeId, uuid, uuidv7 } from "./algorithms.ts";

const ALGORITHMS = ["uuid", "nanoid", "range_id", "ksuid", "uuidv7"] as const;
const RANGE = {
  length: 16,
  char_set: "abcdefghijklmnopqrstuvwxyzABCDEFGHIGKLMNOPQRSTUVWXYZ0123456789",
};

const VISIBLE = /^[\x21-\x7e]+$/;

export default definePlugin({
  name: "request-id",
  version: "0.1.0",
  priority: 12015,
  config: Type.Object({
    header_name: Type.String({ default: "X-Request-Id", description: "Header that carries the id" }),
    include_in_response: Type.Boolean({ default: true, description: "Put the id into the answer" }),
    algorithm: oneOf(ALGORITHMS, { default: "uuid", description: "How ids are made" }),
    range_id: Type.Object(
      {
        length: Type.Integer({
          minimum: 6,
          maximum: 1024,
          default: RANGE.length,
          description: "Characters of an id",
        }),
        char_set: Type.String({
          minLength: 6,
          maxLength: 1024,
          default: RANGE.char_set,
          description: "Characters to choose from",
        }),
      },
      { default: RANGE, description: "Only for the algorithm `range_id`" },
    ),
  }),
  check(config) {
    if (!isFieldName(config.header_name))
      return `property "header_name" validation failed: given ${JSON.stringify(config.header_name)}, expected a header field name`;
    if (!VISIBLE.test(config.range_id.char_set))
      return 'property "range_id" validation failed: property "char_set": expected visible ASCII characters';
    return null;
  },
  compile(config, host) {
    const { header_name: rawName, include_in_response: tellsClient } = config;
    const name = rawName.toLowerCase();
    const variable = `request-id-${name}`;
    const { length, char_set: alphabet } = config.range_id;
    const create: () => string = {
      uuid,
      nanoid,
      uuidv7: () => uuidv7(host.now()),
      ksuid: () => ksuid(host.now()),
      range_id: () => rangeId(length, alphabet),
    }[config.algorithm];

    return {
      rewrite(ctx) {
        let id = ctx.request.headers.get(name);
        if (id === undefined || id === "") {
          id = create();
          ctx.request.headers.set(rawName, id);
        }
        ctx.setVariable("apisix_request_id", id);
        if (tellsClient) ctx.setVariable(variable, id);
      },
      ...(tellsClient && {
        responseHeaders(ctx) {
          const id = ctx.variable(variable);
          if (id !== undefined && !ctx.response.headers.get(name)) ctx.response.headers.set(rawName, id);
        },
      }),
    };
  },
});
