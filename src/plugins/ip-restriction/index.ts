/**
 * `ip-restriction`: lets only listed client addresses pass, or keeps listed ones out.
 *
 * The address is the one after PROXY protocol and `real-ip`. Fails closed. A connection of a stream route is closed.
 */

import { definePlugin, Type, type Answer, type Exchange } from "../../plugin/index.ts";
import { AddressSet, isAddressOrCidr } from "../../lib/address.ts";

const Addresses = Type.Array(Type.String(), {
  minItems: 1,
  description: "Addresses and CIDR ranges, IPv4 and IPv6",
});

export default definePlugin({
  name: "ip-restriction",
  version: "0.1.0",
  priority: 3000,
  failsClosed: true,
  subsystems: ["http", "stream"],
  config: Type.Object(
    {
      whitelist: Type.Optional(Addresses),
      blacklist: Type.Optional(Addresses),
      message: Type.String({ minLength: 1, maxLength: 1024, default: "Your IP address is not allowed" }),
      response_code: Type.Integer({ minimum: 403, maximum: 404, default: 403 }),
    },
    { oneOf: [{ required: ["whitelist"] }, { required: ["blacklist"] }] },
  ),
  check(config) {
    const wrong = [...(config.whitelist ?? []), ...(config.blacklist ?? [])].find(
      (entry) => !isAddressOrCidr(entry),
    );
    return wrong === undefined ? null : `invalid ip address: ${wrong}`;
  },
  compile(config) {
    const { response_code: status, message } = config;
    const listed = new AddressSet(config.whitelist ?? config.blacklist ?? []);
    const passesListed = config.whitelist !== undefined;
    const restrict = (ctx: Exchange): Answer | undefined => {
      if (listed.has(ctx.client.address) === passesListed) return undefined;
      return ctx.answer(status, { message });
    };
    return { access: restrict, preread: restrict };
  },
});
