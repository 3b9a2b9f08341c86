/**
 * `zone-affinity`: the requests of a route go to the nodes of one zone of its upstream; where there are none that are
 * healthy, to the others too, unless it says otherwise. The zone of a node is `metadata.zone`.
 *
 * Fails open: a zone that comes out empty is no wish.
 */

import { compileTemplate } from "../../lib/template.ts";
import { definePlugin, type Exchange, Type } from "../../plugin/index.ts";

export default definePlugin({
  name: "zone-affinity",
  version: "0.1.0",
  priority: 964,
  subsystems: ["http", "stream"],
  config: Type.Object({
    zone: Type.String({
      minLength: 1,
      maxLength: 256,
      description: "Name of the zone; text may hold $variables",
    }),
    mode: Type.Union([Type.Literal("prefer"), Type.Literal("only")], {
      default: "prefer",
      description: "only: no node of another zone serves",
    }),
  }),
  compile({ zone, mode }) {
    const template = compileTemplate(zone);
    const isOnly = mode === "only";
    const fixed = template.variables.length === 0 ? { zone, isOnly } : null;
    const wish = (ctx: Exchange): void => {
      if (fixed !== null) {
        ctx.zoneWish = fixed;
        return;
      }
      const name = template.render(ctx);
      if (name !== "") ctx.zoneWish = { zone: name, isOnly };
    };
    return { access: wish, preread: wish };
  },
});
