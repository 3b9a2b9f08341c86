/**
 * `key-auth`: identifies the consumer by an API key in a header or, failing that, in the query.
 *
 * Fails closed: without a known key the answer is 401, unless an anonymous consumer is named.
 */

import { definePlugin, Type, type Exchange } from "../../plugin/index.ts";
import { removeQueryArgument, readDecodedQueryArgument } from "../../lib/query.ts";

export default definePlugin({
  name: "key-auth",
  version: "0.1.0",
  priority: 2500,
  type: "auth",
  failsClosed: true,
  config: Type.Object({
    header: Type.String({ default: "apikey", description: "Header that holds the key" }),
    query: Type.String({
      default: "apikey",
      description: "Query argument that holds the key, if the header does not",
    }),
    realm: Type.String({ default: "key", minLength: 1, pattern: '^[^\\x00-\\x1f\\x7f"\\\\]+$' }),
    hide_credentials: Type.Boolean({ default: false, description: "Keep the key from the upstream" }),
    anonymous_consumer: Type.Optional(
      Type.String({ minLength: 1, description: "Consumer of requests without a valid key" }),
    ),
  }),
  consumer: Type.Object({ key: Type.String() }),
  encrypted: ["key"],
  compile(config, host) {
    const header = config.header.toLowerCase();
    const challenge = { "WWW-Authenticate": `apikey realm="${config.realm}"` };

    const hide = (ctx: Exchange): void => {
      ctx.request.headers.delete(header);
      ctx.request.query = removeQueryArgument(ctx.request.query, config.query);
    };

    return {
      rewrite(ctx) {
        const key =
          ctx.request.headers.get(header) ?? readDecodedQueryArgument(ctx.request.query, config.query);
        const consumer = key === undefined ? null : host.consumers.find("key-auth", "key", key);
        if (consumer !== null) {
          if (config.hide_credentials) hide(ctx);
          ctx.setConsumer(consumer.facts);
          return undefined;
        }
        if (config.anonymous_consumer === undefined) {
          const message = key === undefined ? "Missing API key in request" : "Invalid API key in request";
          return ctx.answer(401, { message }, challenge);
        }
        const anonymous = host.consumers.byName(config.anonymous_consumer);
        if (anonymous === null) {
          host.log.error("anonymous consumer is missing", {
            plugin: "key-auth",
            consumer: config.anonymous_consumer,
          });
          return ctx.answer(401, { message: "Invalid user authorization" }, challenge);
        }
        if (config.hide_credentials) hide(ctx);
        ctx.setConsumer(anonymous.facts);
        return undefined;
      },
    };
  },
});
