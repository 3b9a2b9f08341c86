/**
 * `client-control`: bounds the request bodies of a route.
 *
 * A longer body is answered 413: at once where its length is declared, else when it exceeds the limit. The limit
 * of the node (`client_max_body_size`) holds besides.
 */

import { definePlugin, Type } from "../../plugin/index.ts";

const TOO_LARGE = { error_msg: "413 Request Entity Too Large" };

export default definePlugin({
  name: "client-control",
  version: "0.1.0",
  priority: 22000,
  failsClosed: true,
  config: Type.Object({
    max_body_size: Type.Optional(
      Type.Integer({
        minimum: 0,
        description: "Maximum message body size in bytes. No restriction when set to 0.",
      }),
    ),
  }),
  compile({ max_body_size: limitBytes }) {
    if (limitBytes === undefined) return {};
    if (limitBytes === 0) return { rewrite: (ctx) => ctx.limitBody(Infinity) };
    return {
      rewrite(ctx) {
        const declared = ctx.request.headers.get("content-length");
        if (declared !== undefined && Number(declared) > limitBytes) return ctx.answer(413, TOO_LARGE);
        ctx.limitBody(limitBytes);
        return undefined;
      },
    };
  },
});
