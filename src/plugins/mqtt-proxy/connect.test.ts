import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { readConnect } from "./connect.ts";
import { connectPacket } from "./packet-kit.ts";

test("the client identifier of MQTT 3.1.1 and of MQTT 5.0 is read", () => {
  for (const level of [4, 5]) {
    const packet = connectPacket({ level, clientId: "sensor-7" });
    assert.deepEqual(readConnect(packet), {
      protocolName: "MQTT",
      protocolLevel: level,
      clientId: "sensor-7",
    });
  }
});

test("properties of MQTT 5.0 before the identifier are passed over, whatever their length", () => {
  const packet = connectPacket({ level: 5, clientId: "a", properties: Buffer.alloc(300, 1) });
  assert.deepEqual(readConnect(packet), { protocolName: "MQTT", protocolLevel: 5, clientId: "a" });
});

test("a packet in pieces asks for more than it was given, and never for more than it has", () => {
  fc.assert(
    fc.property(fc.constantFrom(4, 5), fc.string({ maxLength: 40 }), fc.nat(), (level, clientId, cut) => {
      const packet = connectPacket({ level, clientId });
      const length = cut % packet.length;
      const result = readConnect(packet.subarray(0, length));
      assert.ok(typeof result === "number" && result > length && result <= packet.length);
    }),
  );
});

test("lengths that lead out of the packet are malformed", () => {
  const packet = connectPacket({ level: 4, clientId: "abc" });
  packet.writeUInt16BE(4, packet.length - 5);
  assert.equal(readConnect(Buffer.concat([packet, Buffer.from("x")])), "malformed");
  const name = connectPacket({ level: 4, clientId: "abc" });
  name.writeUInt16BE(500, 2);
  assert.equal(readConnect(name), "malformed");
});

test("what begins otherwise than CONNECT is malformed, and no bytes make it throw", () => {
  assert.equal(readConnect(Buffer.from("GET / HTTP/1.1\r\n")), "malformed");
  fc.assert(fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => void readConnect(Buffer.from(bytes))));
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 64 }), (rest) => void readConnect(Buffer.from([0x10, ...rest]))),
  );
});
