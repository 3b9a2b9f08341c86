/** MQTT through stream routes: who is let in, and where each client goes. */

import assert from "node:assert/strict";
import type { Socket } from "node:net";
import { test } from "node:test";
import { eventually } from "../../src/data/wire-test-kit.ts";
import { everything, node, streamKit, until } from "../../src/data/stream/stream-test-kit.ts";
import { checkPlugins } from "../../src/model/plugin-check.ts";
import { PluginCatalog } from "../../src/plugins/catalog.ts";
import { connectPacket, type PacketFacts } from "../../src/plugins/mqtt-proxy/packet-kit.ts";

/** Says its name when something came. */
const named =
  (name: string) =>
  (socket: Socket): void => {
    socket.once("data", () => socket.end(`${name};`));
  };

for (const level of [4, 5]) {
  test(`a client of level ${level} comes to the same node always, whatever its address`, async (t) => {
    const kit = await streamKit(t);
    const nodes = await Promise.all(["a", "b", "c"].map((name) => node(t, named(name))));
    kit.route({
      plugins: { "mqtt-proxy": { protocol_level: level } },
      upstream: {
        type: "chash",
        key: "mqtt_client_id",
        nodes: Object.fromEntries(nodes.map((each) => [each, 1])),
      },
    });
    const seen = new Set<string>();
    for (let id = 0; id < 12; id++) {
      const packet = connectPacket({ level, clientId: `sensor-${id}`, properties: Buffer.alloc(200, 1) });
      const places = new Set<string>();
      for (let i = 0; i < 3; i++) {
        const client = await kit.client();
        // In two pieces: the identifier comes with the second.
        client.write(packet.subarray(0, 7));
        client.write(packet.subarray(7));
        places.add(await until(client, ";"));
        client.end();
      }
      assert.equal(places.size, 1);
      seen.add([...places][0]);
    }
    assert.ok(seen.size > 1, "all clients came to one node");
    await eventually(() => kit.ended.length === 36);
    assert.equal(kit.ended[0].variable("mqtt_client_id"), "sensor-0");
  });
}

const REFUSED: [name: string, facts: PacketFacts | Buffer, reason: RegExp][] = [
  ["another level", { level: 5, clientId: "a" }, /of level 5, expected \\"MQTT\\" of level 4/],
  ["another name", { level: 4, clientId: "a", name: "MQIsdp" }, /given \\"MQIsdp\\" of level 4/],
  ["something else", Buffer.from("GET / HTTP/1.1\r\n\r\n"), /no packet CONNECT/],
  [
    "a packet whose identifier stands beyond what is read",
    Buffer.from([0x10, 0xff, 0xff, 0xff, 0x7f, 0xff, 0xff]),
    /no packet CONNECT/,
  ],
];

for (const [name, facts, reason] of REFUSED) {
  test(`${name} is closed, and no node hears of it`, async (t) => {
    let connections = 0;
    const kit = await streamKit(t);
    kit.route({
      plugins: { "mqtt-proxy": { protocol_level: 4 } },
      upstream: { type: "roundrobin", nodes: { [await node(t, () => connections++)]: 1 } },
    });
    const client = await kit.client();
    client.write(Buffer.isBuffer(facts) ? facts : connectPacket(facts));
    assert.equal((await everything(client)).length, 0);
    await eventually(() => kit.ended.length === 1);
    assert.equal(kit.ended[0].stream.status, 503);
    assert.equal(connections, 0);
    const line = kit.wire.logged.find((each) => each.startsWith("a client is refused"));
    assert.match(line ?? "", reason);
    assert.match(line ?? "", /"client":"127\.0\.0\.1"/);
  });
}

test("it is a plugin of stream routes alone", () => {
  const plugins = { "mqtt-proxy": { protocol_level: 4 } };
  assert.equal(checkPlugins(plugins, "stream", new PluginCatalog(null)), null);
  assert.match(
    checkPlugins(plugins, "config", new PluginCatalog(null))!.message,
    /unknown plugin \[mqtt-proxy\]/,
  );
  assert.match(
    checkPlugins({ "key-auth": {} }, "stream", new PluginCatalog(null))!.message,
    /unknown plugin/,
  );
  assert.match(
    checkPlugins({ "mqtt-proxy": {} }, "stream", new PluginCatalog(null))!.message,
    /protocol_level/,
  );
});
