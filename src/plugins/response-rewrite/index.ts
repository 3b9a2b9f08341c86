/**
 * `response-rewrite`: changes status, header fields and body of answers, the upstream's and the gateway's own.
 *
 * With `vars`, only of those for which the expression holds. Fails open: an answer that cannot be changed as asked
 * goes on as far as it can be, and the log says so. Filters need the whole body: it is held in memory up to its
 * limit, decoded, and sent uncompressed.
 */

import { definePlugin, type Exchange } from "../../plugin/index.ts";
import { dropBodyFacts } from "../../plugin/body-facts.ts";
import { compileExpression } from "../../lib/expression.ts";
import { BodyFilters } from "./body-filters.ts";
import { check, Config, decodeBase64 } from "./config.ts";
import { CompiledChanges } from "./header-changes.ts";
import { decoderOf } from "./content-coding.ts";
import { BodyInHand } from "./body-in-hand.ts";

const NOTHING = Buffer.alloc(0);

export default definePlugin({
  name: "response-rewrite",
  version: "0.1.0",
  priority: 899,
  config: Config,
  check,
  compile(config, host) {
    const condition = config.vars === undefined ? null : compileExpression(config.vars);
    const changes = config.headers === undefined ? null : new CompiledChanges(config.headers);
    const body = bodyOf(config);
    const filters = config.filters === undefined ? null : new BodyFilters(config.filters, host.log);
    const changesBody = body !== null || filters !== null;
    /** Bodies of answers that are to be changed, from their head to their last chunk. */
    const inHand = new WeakMap<Exchange, BodyInHand>();

    const takeBody = (ctx: Exchange): void => {
      const { headers } = ctx.response;
      const coding = filters === null ? "identity" : (headers.joined("content-encoding") ?? "identity");
      const decode = decoderOf(coding);
      if (decode === null) {
        host.log.error("filters may not work as expected due to unsupported compression encoding type", {
          plugin: "response-rewrite",
          encoding: coding,
        });
        return;
      }
      dropBodyFacts(headers);
      inHand.set(ctx, new BodyInHand(decode, body === null ? config.max_resp_body_size : 0));
    };

    const responseHeaders = (ctx: Exchange): void => {
      if (condition !== null && !condition.evaluate(ctx)) return;
      if (config.status_code !== undefined) ctx.response.status = config.status_code;
      if (changesBody) takeBody(ctx);
      if (changes !== null) changes.apply(ctx);
    };
    if (!changesBody) return { responseHeaders };

    return {
      responseHeaders,
      responseBody(ctx, chunk, last) {
        const held = inHand.get(ctx);
        if (held === undefined) return chunk;
        held.push(chunk);
        if (!last) return NOTHING;
        inHand.delete(ctx);
        return body ?? held.filtered(filters!, host.log);
      },
    };
  },
});

/** The body that replaces every other; null: none does. An empty one counts. */
function bodyOf(config: Config): Buffer | null {
  if (config.body === undefined) return null;
  return config.body_base64 ? (decodeBase64(config.body) ?? NOTHING) : Buffer.from(config.body);
}
