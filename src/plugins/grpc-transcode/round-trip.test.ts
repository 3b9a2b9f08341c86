/** Messages through JSON and back, against another library's reading of the same bytes. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { createFileRegistry, fromBinary } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import * as fc from "fast-check";
import protobufjs from "protobufjs";
import { compileProto } from "../../model/proto/compile.ts";
import { readArguments } from "./arguments.ts";
import { JsonWriter } from "./json-writer.ts";
import { encodeMessage } from "./message-encoder.ts";
import { HeaderList } from "../../plugin/index.ts";

const TEXT = `syntax = "proto3";
  message All {
    double d = 1; float f = 2; int32 i32 = 3; int64 i64 = 4; uint32 u32 = 5; uint64 u64 = 6; sint32 s32 = 7; sint64 s64 = 8;
    fixed32 x32 = 9; fixed64 x64 = 10; sfixed32 y32 = 11; sfixed64 y64 = 12; bool b = 13; string s = 14; bytes raw = 15;
    optional int32 maybe = 16; Kind kind = 17; All inner = 18; repeated int64 longs = 19; repeated string texts = 20;
    repeated All list = 21; map<string, int64> by_text = 22; map<int32, Kind> by_number = 23; map<bool, All> by_truth = 24;
    oneof one { string left = 25; uint64 right = 26; } repeated Kind kinds = 27;
  }
  enum Kind { NONE = 0; SOME = 1; MORE = 5; }`;

const twin = protobufjs.parse(TEXT, { keepCase: true }).root.lookupType("All");
const type = createFileRegistry(
  fromBinary(FileDescriptorSetSchema, Buffer.from(compileProto(TEXT), "base64")),
).getMessage("All")!;

const int32 = fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 });
const uint32 = fc.integer({ min: 0, max: 2 ** 32 - 1 });
const int64 = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }).map(String);
const uint64 = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }).map(String);
const text = fc.string({ unit: "grapheme", maxLength: 8 });
const kind = fc.constantFrom(0, 1, 5);
// JSON's zero has no sign.
const float = fc.float({ noNaN: true, noDefaultInfinity: true }).map((value) => value + 0);
const double = fc.double({ noNaN: true, noDefaultInfinity: true }).map((value) => value + 0);

const { message } = fc.letrec<{ message: Record<string, unknown> }>((tie) => {
  const inner = fc.option(tie("message"), { maxDepth: 2, nil: {} });
  return {
    message: fc.record(
      {
        d: double,
        f: float,
        i32: int32,
        i64: int64,
        u32: uint32,
        u64: uint64,
        s32: int32,
        s64: int64,
        x32: uint32,
        x64: uint64,
        y32: int32,
        y64: int64,
        b: fc.boolean(),
        s: text,
        raw: text.map((value) => Buffer.from(value).toString("base64")),
        maybe: int32,
        kind,
        inner,
        longs: fc.array(int64, { maxLength: 3 }),
        texts: fc.array(text, { maxLength: 3 }),
        list: fc.array(inner, { maxLength: 2 }),
        by_text: fc.dictionary(fc.string({ minLength: 1, maxLength: 5 }), int64, { maxKeys: 3 }),
        by_number: fc.dictionary(int32.map(String), kind, { maxKeys: 3 }),
        left: text,
        kinds: fc.array(kind, { maxLength: 3 }),
      },
      { requiredKeys: [] },
    ),
  };
});

const known = (bytes: Uint8Array): object =>
  twin.toObject(twin.decode(bytes), { longs: String, bytes: String, enums: Number, defaults: true });

for (const options of [
  ["enum_as_name", "int64_as_number", "auto_default_values"],
  ["enum_as_value", "int64_as_string", "no_default_values"],
  ["int64_as_hexstring", "use_default_values"],
]) {
  test(`messages survive ${options.join(" ")}`, () => {
    const writer = new JsonWriter(options);
    const headers = HeaderList.from({ "content-type": "application/json" });
    fc.assert(
      fc.property(message, (value) => {
        const bytes = twin.encode(twin.fromObject(value)).finish();
        const written = writer.write(type, bytes);
        const request = { method: "POST", headers, query: "" } as Parameters<typeof readArguments>[0];
        const back = encodeMessage(type, readArguments(request, Buffer.from(written)));
        assert.deepEqual(known(back), known(bytes), written);
      }),
      { numRuns: 150 },
    );
  });
}

test("numbers that JSON has not are texts, there and back", () => {
  const writer = new JsonWriter(["no_default_values"]);
  for (const number of [NaN, Infinity, -Infinity]) {
    const written = writer.write(type, encodeMessage(type, { d: String(number) }));
    assert.equal(written, `{"d":"${number}"}`);
  }
});

for (const [options, written] of [
  [["auto_default_values"], '{"b":1}'],
  [["use_default_values"], '{"a":"x","b":1,"e":"TWO"}'],
] as const) {
  test(`of proto2, ${options.join("")} writes ${written}`, () => {
    const set =
      compileProto(`message M { optional string a = 1 [default = "x"]; optional int32 b = 2; optional int32 c = 3;
      repeated int32 l = 4; enum E { ONE = 1; TWO = 2; } optional E e = 5 [default = TWO]; }`);
    const registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, Buffer.from(set, "base64")));
    assert.equal(new JsonWriter(options).write(registry.getMessage("M")!, Buffer.from([0x10, 1])), written);
  });
}

test("messages deeper than 100 are refused both ways", () => {
  let values: Record<string, unknown> = {};
  for (let i = 0; i < 101; i++) values = { inner: values };
  assert.throws(() => encodeMessage(type, values), /messages are more than 100 deep/);
});

test("whole numbers may be written as APISIX takes them, and in no other way", () => {
  const read = (i64: unknown): unknown => {
    const bytes = encodeMessage(type, { i64 });
    return JSON.parse(new JsonWriter(["use_default_values"]).write(type, bytes)).i64 as unknown;
  };
  for (const [given, expected] of [
    [1, 1],
    [-3, -3],
    ["#123", 123],
    ["0xabF", 0xabf],
    ["#-0x123abcdef", -0x123abcdef],
    ["-#0x123abcdef", -0x123abcdef],
    ["123", 123],
  ] as const)
    assert.equal(read(given), expected);
  for (const given of ["#a", "+aaa", "#aaaa", "#-aa", "", "1.5", "1e3", 1.5, true, {}])
    assert.throws(() => read(given), /i64: expected a whole number/);
});

test("answers of more than a million fields and elements are refused before any of them is made", () => {
  const writer = new JsonWriter(["no_default_values"]);
  const field = (number: number, body: Buffer): Buffer => {
    const varint = (value: number): number[] =>
      value < 128 ? [value] : [(value & 127) | 128, ...varint(value >>> 7)];
    return Buffer.concat([Buffer.from([...varint((number << 3) | 2), ...varint(body.length)]), body]);
  };
  const empty = Buffer.from([0xaa, 0x01, 0x00]); // an element of "list": 27 fields
  const of = (count: number, part: Buffer): Buffer => Buffer.alloc(count * part.length, part);
  for (const bytes of [
    of(40_000, empty),
    field(18, of(40_000, empty)),
    field(19, Buffer.alloc(1_000_001, 1)),
    field(24, field(2, of(40_000, empty))),
    Buffer.concat([field(19, Buffer.alloc(900_000, 1)), of(4000, empty)]),
  ])
    assert.throws(() => writer.write(type, bytes), /more than 1000000 fields and elements of lists/);
  const read = (bytes: Buffer): Record<string, unknown[]> =>
    JSON.parse(writer.write(type, bytes)) as Record<string, unknown[]>;
  const long = field(20, Buffer.alloc(1_100_000, "a"));
  assert.equal(read(Buffer.concat([long, long]))["texts"].length, 2);
  assert.equal(read(of(1000, empty))["list"].length, 1000);
  assert.equal(read(field(19, Buffer.alloc(1000, 1)))["longs"].length, 1000);
  assert.throws(() => writer.write(type, field(18, Buffer.alloc(600_000, 0x0a))), /./);
});
