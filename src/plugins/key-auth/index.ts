/**
 * `key-auth`: identifies the consumer by an API key in a header or, failing that, in the query.
 *
 * Fails closed: without a known key the answer is 401, unless an anonymous consumer is named.
 */

import { definePlugin, Type, type Exchange } from "../../plugin/index.ts";
import { admitAnonymous, isUnresolvedSecret } from "../../plugin/authentication.ts";
import { AnonymousConsumer, realm } from "../../plugin/schema.ts";
import { removeQueryArgument, readQueryArgument } from "../../lib/query.ts";

const NAME = "key-auth";

export default definePlugin({
  name: NAME,
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
    realm: realm("key"),
    hide_credentials: Type.Boolean({ default: false, description: "Keep the key from the upstream" }),
    anonymous_consumer: AnonymousConsumer,
  }),
  consumer: Type.Object({ key: Type.String({ description: "The key; unique among consumers" }) }),
  encrypted: ["key"],
  compile(config, host) {
    const header = config.header.toLowerCase();
    const challenge = { "WWW-Authenticate": `apikey realm="${config.realm}"` };
    const missing = { plugin: NAME, message: "Missing API key in request", challenge };
    const unknown = { plugin: NAME, message: "Invalid API key in request", challenge };

    const hide = (ctx: Exchange): void => {
      ctx.request.headers.delete(header);
      ctx.request.query = removeQueryArgument(ctx.request.query, config.query);
    };

    return {
      rewrite(ctx) {
        const key = ctx.request.headers.get(header) ?? readQueryArgument(ctx.request.query, config.query);
        const consumer =
          key === undefined || isUnresolvedSecret(key) ? null : host.consumers.find(NAME, "key", key);
        if (consumer === null) {
          const refusal = key === undefined ? missing : unknown;
          const answer = admitAnonymous(ctx, host, config.anonymous_consumer, refusal);
          if (answer !== undefined) return answer;
        } else {
          ctx.setConsumer(consumer.facts);
        }
        if (config.hide_credentials) hide(ctx);
        return undefined;
      },
    };
  },
});
