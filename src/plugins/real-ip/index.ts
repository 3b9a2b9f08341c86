/**
 * `real-ip`: takes the client's address and port from a header, query argument or other variable, if the peer
 * may be trusted with that.
 *
 * Where the source holds no valid address, the one that is known stays.
 */

import { definePlugin, Type } from "../../plugin/index.ts";
import { AddressOrCidr } from "../../plugin/schema.ts";
import { AddressSet, isAddressOrCidr } from "../../lib/address.ts";
import { parseSource, readSource } from "./source-address.ts";

export default definePlugin({
  name: "real-ip",
  version: "0.1.0",
  priority: 23000,
  failsClosed: true,
  config: Type.Object({
    source: Type.String({
      minLength: 1,
      description: "Variable that holds the address, as `http_x_forwarded_for` or `arg_realip`",
    }),
    trusted_addresses: Type.Optional(
      Type.Array(AddressOrCidr, {
        minItems: 1,
        description: "Peers that are believed. Without it, everybody is",
      }),
    ),
    recursive: Type.Boolean({
      default: false,
      description: "In `X-Forwarded-For`, pass over trusted addresses from the right",
    }),
  }),
  check(config) {
    const wrong = config.trusted_addresses?.find((entry) => !isAddressOrCidr(entry));
    return wrong === undefined ? null : `invalid ip address: ${wrong}`;
  },
  compile(config, host) {
    const trusted = config.trusted_addresses === undefined ? null : new AddressSet(config.trusted_addresses);
    const skipped = config.recursive ? trusted : null;

    return {
      rewrite(ctx) {
        if (trusted !== null && !trusted.has(ctx.client.address)) return;
        const text = readSource(ctx, config.source, skipped);
        const found = text === undefined ? null : parseSource(text);
        if (found === null) {
          host.log.debug("no valid client address", { source: config.source, value: text });
          return;
        }
        ctx.client.address = found.address;
        ctx.client.port = found.port;
      },
    };
  },
});
