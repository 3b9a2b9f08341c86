import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { echoListener } from "../../../test/shapes/echo-listener.ts";
import { WireClient } from "../../../test/shapes/wire-client.ts";
import { Deadlines } from "../deadlines.ts";
import type { ClientHandler, ClientTransport } from "../transport.ts";
import { HeaderList } from "../../lib/headers.ts";
import { parseProxyHeader } from "./proxy-protocol.ts";

const SIGNATURE = Buffer.from("\r\n\r\n\0\r\nQUIT\n", "latin1");

function v2(command: number, family: number, payload: number[]): Buffer {
  return Buffer.concat([
    SIGNATURE,
    Buffer.from([command, family, payload.length >> 8, payload.length & 255, ...payload]),
  ]);
}

const V4 = [10, 0, 0, 1, 10, 0, 0, 2, 0x1f, 0x90, 0, 80];
const V6 = [
  0x20,
  1,
  0xd,
  0xb8,
  ...Array.from({ length: 11 }, () => 0),
  1,
  ...Array.from({ length: 15 }, () => 0),
  1,
  0,
  7,
  0,
  8,
];

const ANNOUNCED: [name: string, bytes: Buffer, address: string | null, port: number][] = [
  ["version 1, TCP4", Buffer.from("PROXY TCP4 1.2.3.4 5.6.7.8 1000 80\r\n"), "1.2.3.4", 1000],
  ["version 1, TCP6", Buffer.from("PROXY TCP6 2001:db8::1 ::1 65535 0\r\n"), "2001:db8::1", 65_535],
  ["version 1, UNKNOWN", Buffer.from("PROXY UNKNOWN\r\n"), null, 0],
  ["version 1, UNKNOWN with addresses", Buffer.from("PROXY UNKNOWN ffff::1 ::2 1 2\r\n"), null, 0],
  ["version 2, TCP over IPv4", v2(0x21, 0x11, V4), "10.0.0.1", 8080],
  ["version 2, TCP over IPv6", v2(0x21, 0x21, V6), "2001:db8::1", 7],
  ["version 2 with TLVs", v2(0x21, 0x11, [...V4, 4, 0, 1, 9]), "10.0.0.1", 8080],
  ["version 2, LOCAL", v2(0x20, 0x00, []), null, 0],
  ["version 2, LOCAL with addresses", v2(0x20, 0x11, V4), null, 0],
  [
    "version 2, UNIX",
    v2(
      0x21,
      0x31,
      Array.from({ length: 216 }, () => 65),
    ),
    null,
    0,
  ],
];

const MALFORMED: [name: string, bytes: Buffer][] = [
  ["no header at all", Buffer.from("GET / HTTP/1.1\r\n")],
  ["lower case", Buffer.from("proxy TCP4 1.2.3.4 5.6.7.8 1 2\r\n")],
  ["an unknown family", Buffer.from("PROXY TCP5 1.2.3.4 5.6.7.8 1 2\r\n")],
  ["an address of the other family", Buffer.from("PROXY TCP4 ::1 ::2 1 2\r\n")],
  ["a name for an address", Buffer.from("PROXY TCP4 localhost 5.6.7.8 1 2\r\n")],
  ["a port that is too large", Buffer.from("PROXY TCP4 1.2.3.4 5.6.7.8 65536 2\r\n")],
  ["a port with a leading zero", Buffer.from("PROXY TCP4 1.2.3.4 5.6.7.8 01 2\r\n")],
  ["a missing port", Buffer.from("PROXY TCP4 1.2.3.4 5.6.7.8 1\r\n")],
  ["one field too many", Buffer.from("PROXY TCP4 1.2.3.4 5.6.7.8 1 2 3\r\n")],
  ["two spaces", Buffer.from("PROXY  TCP4 1.2.3.4 5.6.7.8 1 2\r\n")],
  ["a line that is too long", Buffer.from(`PROXY UNKNOWN ${"x".repeat(100)}\r\n`)],
  ["version 3", v2(0x31, 0x11, V4)],
  ["an unknown command", v2(0x22, 0x11, V4)],
  ["an unknown family of version 2", v2(0x21, 0x41, V4)],
  ["an unknown transport", v2(0x21, 0x13, V4)],
  ["addresses that are too short", v2(0x21, 0x11, V4.slice(0, 11))],
  ["a length beyond the bound", Buffer.concat([SIGNATURE, Buffer.from([0x21, 0x11, 0xff, 0xff])])],
];

describe("PROXY header", () => {
  for (const [name, bytes, address, port] of ANNOUNCED) {
    test(`${name} is read, however it is split`, () => {
      for (let cut = 0; cut < bytes.length; cut++) {
        assert.equal(parseProxyHeader(bytes.subarray(0, cut)), "need-more", `cut at ${cut}`);
      }
      const result = parseProxyHeader(Buffer.concat([bytes, Buffer.from("GET")]));
      assert.ok(typeof result === "object");
      assert.equal(result.end, bytes.length);
      assert.equal(result.source?.address ?? null, address);
      assert.equal(result.source?.port ?? 0, port);
    });
  }

  for (const [name, bytes] of MALFORMED) {
    test(`${name} is malformed`, () => {
      assert.equal(parseProxyHeader(bytes), "malformed");
    });
  }
});

describe("a listener that requires the PROXY protocol", () => {
  const handler: ClientHandler = {
    onBody: () => true,
    onEnd: () => undefined,
    onWritable: () => undefined,
    onAbort: () => undefined,
  };
  const answerAddress = (transport: ClientTransport): ClientHandler => {
    const { proxyProtocolAddress, remoteAddress } = transport.connection;
    transport.writeAnswer(200, "", new HeaderList(), `${proxyProtocolAddress} ${remoteAddress}`);
    return handler;
  };

  test("announces the address and serves the request that came along", async () => {
    const echo = await echoListener({ proxyProtocol: true, onRequest: answerAddress });
    const client = await WireClient.open(echo.port);
    client.send("PROXY TCP4 1.2.3.4 5.6.7.8 1000 80\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert.equal((await client.answer())?.body, "1.2.3.4 127.0.0.1");
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert.equal((await client.answer())?.body, "1.2.3.4 127.0.0.1");
    client.close();
    echo.listener.close();
    echo.deadlines.close();
  });

  test("closes a connection without a header, or whose header is late, and counts it out", async () => {
    let nowMs = 0;
    const deadlines = new Deadlines(() => nowMs, { sweeping: false });
    const echo = await echoListener({ proxyProtocol: true, deadlines, onRequest: answerAddress });
    const bare = await WireClient.open(echo.port);
    bare.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert.equal(await bare.rest(), "");
    const late = await WireClient.open(echo.port);
    late.send("PROXY TC");
    while (deadlines.size === 0) await new Promise((resolve) => setImmediate(resolve));
    nowMs += 10_001;
    deadlines.sweep();
    assert.equal(await late.rest(), "");
    assert.deepEqual(echo.refused, ["proxy-header", "proxy-header"]);
    assert.equal(echo.count.active, 0);
    echo.listener.close();
    deadlines.close();
  });

  test("ends what still waits for its header when it is closed, and counts it out", async () => {
    const deadlines = new Deadlines(() => 0, { sweeping: false });
    const echo = await echoListener({ proxyProtocol: true, deadlines, onRequest: answerAddress });
    const silent = await WireClient.open(echo.port);
    const begun = await WireClient.open(echo.port);
    begun.send("PROXY TC");
    while (echo.count.active < 2) await new Promise((resolve) => setImmediate(resolve));
    assert.equal(echo.listener.active, 2);
    const drained = echo.listener.drain();
    echo.listener.close();
    await drained;
    assert.deepEqual([await silent.rest(), await begun.rest()], ["", ""]);
    assert.deepEqual([echo.listener.active, echo.count.active, deadlines.size], [0, 0, 0]);
    assert.deepEqual(echo.refused, []);
    deadlines.close();
  });

  test("while it drains, waits no longer for a header than a moment, and serves who sends one", async () => {
    let nowMs = 0;
    const deadlines = new Deadlines(() => nowMs, { sweeping: false });
    const echo = await echoListener({ proxyProtocol: true, deadlines, onRequest: answerAddress });
    const silent = await WireClient.open(echo.port);
    const served = await WireClient.open(echo.port);
    while (echo.count.active < 2) await new Promise((resolve) => setImmediate(resolve));
    const drained = echo.listener.drain();
    served.send("PROXY TCP4 1.2.3.4 5.6.7.8 1000 80\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert.equal((await served.answer())?.body, "1.2.3.4 127.0.0.1");
    nowMs += 1001;
    deadlines.sweep();
    assert.equal(await silent.rest(), "");
    served.close();
    await drained;
    assert.equal(echo.count.active, 0);
    deadlines.close();
  });
});
