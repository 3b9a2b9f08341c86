/**
 * `mqtt-proxy`: lets MQTT of one version pass on a stream route, and knows its client.
 *
 * The client's identifier is the variable `mqtt_client_id`: an upstream with `type: chash` and `key: mqtt_client_id` leads
 * a client to the same node always. A client without one is told apart by its address. Whatever is no CONNECT packet of the
 * wanted protocol is closed, and so is one whose identifier does not stand within the first 16 KiB.
 */

import { definePlugin, Type, type Answer, type StreamExchange } from "../../plugin/index.ts";
import { readConnect } from "./connect.ts";

/** Of what a client sent, in the log. */
const MAX_TOLD_CHARACTERS = 32;

export default definePlugin({
  name: "mqtt-proxy",
  version: "0.1.0",
  priority: 1000,
  failsClosed: true,
  subsystems: ["stream"],
  config: Type.Object({
    protocol_name: Type.String({
      default: "MQTT",
      description: "Name of the protocol that clients must send",
    }),
    protocol_level: Type.Integer({
      description: "Level that clients must send: 4 is MQTT 3.1.1, 5 is MQTT 5.0",
    }),
  }),
  compile({ protocol_name: name, protocol_level: level }, host) {
    return {
      async preread(ctx: StreamExchange): Promise<void | Answer> {
        let bytes: Buffer | null = await ctx.stream.peek(1);
        let reason = "no packet CONNECT of MQTT that can be read";
        while (bytes !== null) {
          const packet = readConnect(bytes);
          if (typeof packet === "number") {
            bytes = await ctx.stream.peek(packet);
            continue;
          }
          if (packet === "malformed") break;
          const { protocolName, protocolLevel } = packet;
          if (protocolName !== name || protocolLevel !== level) {
            const given = `${JSON.stringify(protocolName.slice(0, MAX_TOLD_CHARACTERS))} of level ${protocolLevel}`;
            reason = `given ${given}, expected ${JSON.stringify(name)} of level ${level}`;
            break;
          }
          if (packet.clientId !== "") ctx.setVariable("mqtt_client_id", packet.clientId);
          return undefined;
        }
        host.log.warn("a client is refused", { plugin: "mqtt-proxy", client: ctx.client.address, reason });
        return ctx.answer(503);
      },
    };
  },
});
