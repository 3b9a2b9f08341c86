/**
 * `public-api`: a route with it leads to a path that a plugin answers itself, as `/apisix/...`. Such paths are
 * not reachable otherwise; authentication and limits are those of the route.
 *
 * A path that no plugin has is answered 404.
 */

import { definePlugin, Type } from "../../plugin/index.ts";

const NOT_FOUND = { error_msg: "404 Not Found" };

export default definePlugin({
  name: "public-api",
  version: "0.1.0",
  priority: 501,
  failsClosed: true,
  config: Type.Object({
    uri: Type.Optional(
      Type.String({ description: "The plugin's path. Without it: the path of the request" }),
    ),
  }),
  compile(config, host) {
    return {
      access(ctx) {
        const api = host.publicApi(ctx.request.method, config.uri ?? ctx.request.path);
        return api === null ? ctx.answer(404, NOT_FOUND) : api.handle(ctx);
      },
    };
  },
});
