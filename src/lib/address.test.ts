import assert from "node:assert/strict";
import { BlockList, isIP } from "node:net";
import { test } from "node:test";
import * as fc from "fast-check";
import { AddressSet, isAddress, isAddressOrCidr, isCidr, parseIpv4, parseIpv6 } from "./address.ts";

test("reads IPv4 text as an unsigned number and refuses what is ambiguous", () => {
  const table: [string, number][] = [
    ["0.0.0.0", 0],
    ["127.0.0.1", 0x7f000001],
    ["255.255.255.255", 0xffffffff],
    ["1.2.3", -1],
    ["1.2.3.4.5", -1],
    ["256.1.1.1", -1],
    ["01.2.3.4", -1],
    ["00.2.3.4", -1],
    ["1.2.3.4 ", -1],
    ["1..3.4", -1],
    [".1.2.3.4", -1],
    ["1.2.3.", -1],
    ["", -1],
    ["1.2.3.+4", -1],
  ];
  for (const [text, expected] of table) assert.equal(parseIpv4(text), expected, text);
});

test("agrees with Node about what an address is", () => {
  const words = new Uint32Array(4);
  const nearly = fc.string({ unit: fc.constantFrom(..."0123456789abcf:.".split("")), maxLength: 24 });
  fc.assert(
    fc.property(fc.oneof(nearly, fc.ipV6(), fc.ipV4()), (text) => {
      assert.equal(parseIpv6(text, words), isIP(text) === 6, text);
      assert.equal(isAddress(text), isIP(text) !== 0, text);
    }),
    { numRuns: 5000 },
  );
});

test("holds exactly the addresses that Node's BlockList holds", () => {
  const entry = fc.oneof(
    fc.tuple(fc.ipV4(), fc.integer({ min: 0, max: 32 })),
    fc.tuple(
      // Ranges that span the IPv4-mapped block, which Node reads in its own way, are left to the next test.
      fc.ipV6().filter((text) => /^[1-9a-f][0-9a-f]{3}:/i.test(text) && !text.includes(".")),
      fc.integer({ min: 4, max: 128 }),
    ),
  );
  fc.assert(
    fc.property(
      fc.array(entry, { maxLength: 24 }),
      fc.array(fc.oneof(fc.ipV4(), fc.ipV6())),
      (entries, probes) => {
        const list = new BlockList();
        for (const [address, bits] of entries)
          list.addSubnet(address, bits, isIP(address) === 6 ? "ipv6" : "ipv4");
        const set = new AddressSet(entries.map(([address, bits]) => `${address}/${bits}`));
        const own = entries.map(([address]) => address);
        for (const probe of probes.concat(own)) {
          if (isIP(probe) === 6 && /^(::|0:0:0:0:0:(ffff|0):)/i.test(probe)) continue; // mapped ones have a test of their own
          assert.equal(set.has(probe), list.check(probe, isIP(probe) === 6 ? "ipv6" : "ipv4"), probe);
        }
      },
    ),
    { numRuns: 400 },
  );
});

test("takes an IPv4-mapped address for the IPv4 address, in entries and in lookups", () => {
  assert.ok(new AddressSet(["10.0.0.0/8"]).has("::ffff:10.1.2.3"));
  assert.ok(new AddressSet(["::ffff:10.0.0.0/104"]).has("10.1.2.3"));
  assert.ok(!new AddressSet(["::ffff:10.0.0.0/104"]).has("11.1.2.3"));
  assert.ok(!new AddressSet(["::/0"]).has("10.1.2.3"));
});

test("ignores the zone of a looked-up address and answers false for text that is none", () => {
  const set = new AddressSet(["fe80::/10", "0.0.0.0/0"]);
  assert.ok(set.has("fe80::1%eth0"));
  for (const text of ["", "localhost", "unix:", "1.2.3.4:80", "[::1]"]) assert.ok(!set.has(text), text);
});

test("merges ranges that overlap or touch", () => {
  const set = new AddressSet(["10.0.0.0/25", "10.0.0.128/25", "10.0.0.7", "10.0.0.0/24"]);
  assert.ok(set.has("10.0.0.255"));
  assert.ok(!set.has("10.0.1.0"));
});

test("refuses entries that are neither address nor range, and names them", () => {
  for (const text of [
    "10.0.0.0/33",
    "10.0.0.0/-1",
    "10.0.0.0/",
    "10.0.0.0/08",
    "::/129",
    "a.com",
    "fe80::1%eth0",
  ]) {
    assert.throws(
      () => new AddressSet([text]),
      { name: "RangeError", message: new RegExp(text.slice(0, 4)) },
      text,
    );
    assert.ok(!isAddressOrCidr(text), text);
  }
  assert.ok(isCidr("10.0.0.1/8"));
  assert.ok(!isCidr("10.0.0.1"));
});
