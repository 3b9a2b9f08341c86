import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type AddressInfo, type Socket } from "node:net";
import { describe, test } from "node:test";
import { connect, type ConnectionOptions } from "node:tls";
import { array, assert as holds, nat, property, tuple } from "fast-check";
import { MAX_HELLO_WIRE_BYTES, ParsedHello, readClientHello } from "./client-hello.ts";
import { ja3TextOf, ja4Of, type HelloFacts } from "./fingerprint.ts";

/** What Node's own client sends. */
async function helloOf(options: ConnectionOptions): Promise<Buffer> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  const client = connect({ host: "127.0.0.1", port, rejectUnauthorized: false, ...options });
  client.on("error", () => undefined);
  const [socket] = (await once(server, "connection")) as [Socket];
  const [bytes] = (await once(socket, "data")) as [Buffer];
  client.destroy();
  socket.destroy();
  server.close();
  return bytes;
}

function parsed(bytes: Buffer): ParsedHello {
  const result = readClientHello(bytes);
  assert.ok(result instanceof ParsedHello);
  return result;
}

/** The same message in other records. */
function recut(bytes: Buffer, size: number): Buffer {
  const message = parsed(bytes).raw;
  const records: Buffer[] = [];
  for (let at = 0; at < message.length; at += size) {
    const part = message.subarray(at, at + size);
    records.push(Buffer.from([22, 3, 1, part.length >> 8, part.length & 255]), part);
  }
  return Buffer.concat(records);
}

function withExtensions(extensions: Buffer): Buffer {
  const random = Buffer.alloc(32);
  const body = Buffer.concat([
    Buffer.from([3, 3]),
    random,
    Buffer.from([0, 0, 2, 0x13, 1, 1, 0, extensions.length >> 8, extensions.length & 255]),
    extensions,
  ]);
  const length = body.length + 4;
  const heads = [22, 3, 1, length >> 8, length & 255, 1, 0, body.length >> 8, body.length & 255];
  return Buffer.concat([Buffer.from(heads), body]);
}

describe("the hello of a client", () => {
  test("tells its name, protocols, versions and lists", async () => {
    const hello = parsed(
      await helloOf({
        servername: "A.example.com",
        ALPNProtocols: ["h2", "http/1.1"],
        ciphers: "AES128-SHA",
      }),
    );
    assert.equal(hello.serverName, "a.example.com");
    assert.deepEqual(hello.alpn, ["h2", "http/1.1"]);
    assert.equal(hello.legacyVersion, 0x0303);
    assert.ok(hello.supportedVersions.includes(0x0303));
    assert.ok(hello.ciphers.includes(0x002f));
    assert.ok(hello.extensions.includes(0) && hello.extensions.includes(16));
    assert.ok(hello.groups.length > 0 && hello.signatureAlgorithms.length > 0);
    assert.match(hello.ja3, /^[0-9a-f]{32}$/);
    assert.match(hello.ja4, /^t1[23]d\d{4}h2_[0-9a-f]{12}_[0-9a-f]{12}$/);
  });

  test("may have no name and no protocols", async () => {
    const hello = parsed(await helloOf({ maxVersion: "TLSv1.2" }));
    assert.equal(hello.serverName, null);
    assert.deepEqual(hello.alpn, []);
    assert.match(hello.ja4, /^t12i\d{4}00_/);
  });

  test("is the same over any cut into records and segments", async () => {
    const bytes = await helloOf({ servername: "a.com" });
    const whole = parsed(bytes);
    for (const size of [60, 128, 1000]) {
      const cut = recut(bytes, size);
      for (let end = 0; end < cut.length; end++)
        assert.equal(readClientHello(cut.subarray(0, end)), "need-more", `${size}, ${end}`);
      assert.deepEqual(parsed(cut).raw, whole.raw);
      assert.equal(parsed(Buffer.concat([cut, Buffer.from("more")])).serverName, "a.com");
    }
  });

  test("in very many records is malformed, within a bound", async () => {
    const cut = recut(await helloOf({ servername: "a.com" }), 1);
    assert.equal(readClientHello(cut), "malformed");
    assert.ok(cut.indexOf(Buffer.alloc(1)) < MAX_HELLO_WIRE_BYTES);
  });
});

describe("malformed is", () => {
  const cases: [name: string, bytes: Buffer][] = [
    ["a request in the clear", Buffer.from("GET / HTTP/1.1\r\n")],
    ["one byte of something else", Buffer.from("G")],
    ["SSL 2", Buffer.from([0x80, 0x2e, 1, 0, 2])],
    ["an alert", Buffer.from([21, 3, 1, 0, 2, 1, 0])],
    ["an empty record", Buffer.from([22, 3, 1, 0, 0])],
    ["a record that is too long", Buffer.from([22, 3, 1, 0x40, 1])],
    ["another message", Buffer.from([22, 3, 1, 0, 4, 2, 0, 0, 0])],
    ["a message that is too long", Buffer.from([22, 3, 1, 0, 4, 1, 0, 0x40, 1])],
    ["a hello of nothing", Buffer.from([22, 3, 1, 0, 4, 1, 0, 0, 0])],
  ];
  for (const [name, bytes] of cases) test(name, () => assert.equal(readClientHello(bytes), "malformed"));

  test("more extensions than anybody has", () => {
    const many = Buffer.concat(Array.from({ length: 129 }, (_, i) => Buffer.from([0x4e, i, 0, 0])));
    assert.equal(readClientHello(withExtensions(many)), "malformed");
    assert.ok(readClientHello(withExtensions(many.subarray(4))) instanceof ParsedHello);
  });

  test("an extension that comes twice, or ends early", async () => {
    const bytes = await helloOf({ servername: "a.com" });
    const cut = Buffer.from(bytes);
    // The length of the extensions, one more than there are.
    const { raw } = parsed(bytes);
    const at = raw.length - raw.subarray(4 + 2 + 32 + 1 + raw[38]).length;
    const ciphers = raw.readUInt16BE(at);
    const lengthAt = 5 + at + 2 + ciphers + 2;
    cut.writeUInt16BE(cut.readUInt16BE(lengthAt) + 1, lengthAt);
    assert.equal(readClientHello(cut), "malformed");
  });

  test("or a hello, or more is needed: whatever bytes come, none throws", async () => {
    const bytes = await helloOf({ servername: "a.com", ALPNProtocols: ["h2"] });
    holds(
      property(
        array(tuple(nat(bytes.length - 1), nat(255)), { minLength: 1, maxLength: 4 }),
        nat(bytes.length),
        (changes, end) => {
          const changed = Buffer.from(bytes);
          for (const [at, value] of changes) changed[at] = value;
          const result = readClientHello(changed.subarray(0, end));
          if (result instanceof ParsedHello) assert.match(result.ja4, /^t.{9}_/);
        },
      ),
      { numRuns: 2000 },
    );
  });
});

describe("fingerprints", () => {
  const numbers = (text: string): number[] => text.split(",").map((each) => parseInt(each, 16));
  const facts: HelloFacts = {
    serverName: "a.com",
    alpn: ["h2"],
    legacyVersion: 0x0303,
    supportedVersions: [0x2a2a, 0x0304, 0x0303],
    ciphers: numbers("0a0a,1301,1302,1303,c02b,c02f,c02c,c030,cca9,cca8,c013,c014,009c,009d,002f,0035"),
    extensions: numbers(
      "1a1a,0000,0017,ff01,000a,000b,0023,0010,0005,000d,0012,0033,002d,002b,001b,0015,4469,3a3a",
    ),
    groups: [0x5a5a, 29, 23],
    pointFormats: [0],
    signatureAlgorithms: numbers("0403,0804,0401,0503,0805,0501,0806,0601"),
  };

  test("JA4 is that of its specification's example", () => {
    assert.equal(ja4Of(facts), "t13d1516h2_8daaf6152771_e5627efa2ab1");
  });

  test("JA4 marks what is not there", () => {
    const bare = {
      ...facts,
      serverName: null,
      alpn: [],
      ciphers: [],
      extensions: [],
      signatureAlgorithms: [],
    };
    assert.equal(ja4Of(bare), "t13i000000_000000000000_000000000000");
    assert.match(ja4Of({ ...facts, alpn: ["\xab\xcd"] }), /^t13d1516ad_/);
  });

  test("JA3 leaves GREASE out", () => {
    assert.equal(
      ja3TextOf({ ...facts, ciphers: [0x0a0a, 0x1301], extensions: [0, 0x1a1a, 43] }),
      "771,4865,0-43,29-23,0",
    );
  });
});
