import assert from "node:assert/strict";
import { test } from "node:test";
import { createFileRegistry, type FileRegistry, fromBinary } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import * as fc from "fast-check";
import { compileProto, ProtoError } from "./compile.ts";

function loaded(content: string): FileRegistry {
  const bytes = Buffer.from(compileProto(content), "base64");
  return createFileRegistry(fromBinary(FileDescriptorSetSchema, bytes));
}

function fault(content: string): string {
  try {
    compileProto(content);
  } catch (error) {
    if (error instanceof ProtoError) return error.message;
    throw error;
  }
  return "";
}

const many = (count: number, part: (i: number) => string): string =>
  Array.from({ length: count }, (_, i) => part(i)).join("");

test("a text becomes descriptors with everything that writing a message needs", () => {
  const types = loaded(`syntax = "proto3"; package a.b;
    import "google/protobuf/struct.proto"; import "google/api/annotations.proto";
    /* a comment with { */ option go_package = "x;}";
    message M {
      string name = 1 [json_name = "n"]; optional int32 maybe = 2; repeated sint64 list = 3 [packed = false];
      map<string, Inner> by_name = 4; oneof one { string left = 5; Inner right = 6; }
      google.protobuf.Struct data = 7; .a.b.M again = 8; b.M.Inner inner = 9; Kind kind = 10;
      message Inner { Kind kind = 1; }
      enum Kind { NONE = 0; SOME = 1; }
    }
    service S { rpc Call (M) returns (M.Inner) { option (google.api.http) = { post: "/x" body: "*" }; } rpc Talk (stream M) returns (stream M); }`);
  const { fields } = types.getMessage("a.b.M")!;
  const facts = fields.map((field) =>
    [field.name, field.fieldKind, field.number, field.oneof?.name].join(" ").trim(),
  );
  assert.deepEqual(facts, [
    "name scalar 1",
    "maybe scalar 2",
    "list list 3",
    "by_name map 4",
    "left scalar 5 one",
    "right message 6 one",
    "data message 7",
    "again message 8",
    "inner message 9",
    "kind enum 10",
  ]);
  assert.equal(fields[0].jsonName, "n");
  assert.equal(fields[1].proto.proto3Optional, true);
  assert.equal(fields[8].message?.typeName, "a.b.M.Inner");
  const { methods } = types.getService("a.b.S")!;
  assert.deepEqual(
    methods.map(({ name, methodKind, output }) => [name, methodKind, output.typeName]),
    [
      ["Call", "unary", "a.b.M.Inner"],
      ["Talk", "bidi_streaming", "a.b.M"],
    ],
  );
});

test("proto2 has required fields, defaults, groups and extensions", () => {
  const types = loaded(`message A {
    required int32 a = 1; optional string s = 2 [default = "x"]; optional group G = 3 { optional int32 x = 1; }
    enum E { ONE = 1; TWO = 2; } optional E e = 4 [default = TWO]; extensions 100 to 200; }
    extend A { optional int32 more = 100; }`);
  const [a, s, g, e, ...more] = types.getMessage("A")!.fields;
  assert.ok(s.fieldKind === "scalar" && e.fieldKind === "enum");
  assert.equal(a.proto.label, 2);
  assert.equal(s.getDefaultValue(), "x");
  assert.equal(g.fieldKind === "message" && g.delimitedEncoding, true);
  assert.equal(e.getDefaultValue(), 2);
  assert.deepEqual(more, []);
});

test("what was compiled is a descriptor set that compiles to itself", () => {
  const set = compileProto('syntax = "proto3"; import "x.proto"; message A { google.protobuf.Any any = 1; }');
  assert.equal(compileProto(set), set);
});

for (const [content, reason] of [
  ['syntax = "proto3"; message A { int32 a = 1; string b = 1; }', /duplicate id 1 in Type A/],
  ['syntax = "proto3"; message A { int32 a = 1; string a = 2; }', /duplicate name 'a' in Type A/],
  [
    'syntax = "proto3"; message A { int32 a = 19000; }',
    /A\.a: number 19000, expected 1 to 536870911 without/,
  ],
  ['syntax = "proto3"; message A { int32 a = 0; }', /A\.a: number 0, expected 1 to/],
  ['syntax = "proto3"; enum E { ONE = 1; }', /E\.ONE: number 1, expected 0 for the first value/],
  ['syntax = "proto3"; enum E { }', /E: an enum without values/],
  ['syntax = "proto3"; message A { B b = 1; }', /^A\.b: there is no type "B"$/],
  [
    'syntax = "proto3"; import "b.proto"; message A { b.B b = 1; }',
    /no type "b\.B"; .*\("b\.proto"\): a descriptor set has/,
  ],
  ['syntax = "proto3"; service S { rpc A (X) returns (X); }', /^S\.A: there is no type "X"$/],
  [
    'syntax = "proto3"; message A {} service S { rpc A (int32) returns (A); }',
    /^S\.A: expected a message, got "int32"$/,
  ],
  ['syntax = "proto3"; message A {', /./],
  ["hello {", /illegal token 'hello' \(line 1\)/],
  ["aGVsbG8gd29ybGQ=", /neither the text of a \.proto file nor a descriptor set in base64/],
  ["CgA=", /a file of the descriptor set has no name/],
  ['edition = "2023"; message A {}', /edition 2023: only a descriptor set/],
] as const) {
  test(`${content} is refused`, () => {
    assert.match(fault(content), reason);
  });
}

test("texts that would keep the parser busy are refused before it sees them", () => {
  const head = 'syntax = "proto3";';
  for (const [content, reason] of [
    [
      `${head}message A{${many(20_000, (i) => `int32 a${i}=${i + 1};`)}}`,
      /1000 fields, values or methods in one block/,
    ],
    [head + many(20_000, (i) => `message A${i}{}`), /10000 statements/],
    [`${head}${"message A{".repeat(50_000)}`, /64 blocks inside each other/],
    [`${head}message A{${"a . ".repeat(100_000)} b = 1;}`, /16384 characters in one statement/],
    [`${head}option (x) = ${"{a:".repeat(200_000)}`, /64 blocks inside each other/],
    [`${head}message A{${"reserved 1,2,3,4,5,6,7,8,9;".repeat(600)}}`, /4000 commas in one block/],
  ] as const)
    assert.match(fault(content), reason);
  const long = `${head}/*${"*{;,".repeat(100_000)}*/ option x = "${"{;,".repeat(100_000)}"; message A {}`;
  assert.equal(fault(long), "");
});

test("what the parser reads is counted, however it is hidden", () => {
  const head = 'syntax = "proto3";';
  const hidden = `message A{${many(2000, (i) => `int32 a${i}=${i + 1};`)}}`;
  for (const [before, after] of [
    // To the parser a comment begins where a token does, and ends with its own star if a slash follows.
    ["option a/* = 1;", "/* */"],
    ["option (a/*) = 1;", "/* */"],
    ["message B { int32 a = 1 [(b)./* = 1]; }", "/* */"],
    ["option a//", ""],
    ["/*/", "/* */"],
    ["/**//*/", "/* */"],
    // A backslash does not take an end of line with it there: other quotes are the ends.
    ['option x = "\\\n"x"; ', ' option y = "a";'],
    ["option x = '\\\u2028'x'; ", " option y = 'a';"],
  ] as const)
    assert.match(
      fault(head + before + hidden + after),
      /1000 fields|does not end in its line|illegal/,
      before,
    );
  assert.equal(fault(`${head}/* " */ // '\n/***/ message A {/* { */int32 a = 1;// ;;\n}`), "");
});

test("texts that patterns would look through again and again are refused at once", () => {
  const size = 1024 ** 2;
  for (const content of [
    `${" ".repeat(size - 1)}!`,
    `syntax = "proto3"; option x = "${'\\"'.repeat(size / 2 - 20)}`,
    `syntax = "proto3"; option x = '${"\\'".repeat(size / 2 - 20)}`,
    `${"A".repeat(size - 1)}!`,
    `A${"=".repeat(size - 1)}`,
    `${"// a\n".repeat(size / 5)}!`,
    `${"/** */".repeat(size / 6)}!`,
  ])
    assert.notEqual(fault(content), "", content.slice(0, 40));
});

test("names and options of a text change nothing but its descriptors", () => {
  const head = 'syntax = "proto3";';
  fault(`${head} option (a).__proto__.polluted = 1; option (b) = { __proto__: { polluted: 1 } };
    option constructor.prototype.polluted = 1; message __proto__ { int32 a = 1 [(x).__proto__.polluted = 1]; }`);
  assert.equal(({} as { polluted?: unknown }).polluted, undefined);
  const types = loaded(`${head} message constructor { int32 prototype = 1; int32 toString = 2; }`);
  assert.equal(types.getMessage("constructor")!.fields.length, 2);
});

test("descriptor sets keep to bounds, too", () => {
  const varint = (value: number): number[] =>
    value < 128 ? [value] : [(value & 127) | 128, ...varint(value >>> 7)];
  const field = (number: number, body: Buffer): Buffer =>
    Buffer.concat([Buffer.from([(number << 3) | 2, ...varint(body.length)]), body]);
  let nested = field(1, Buffer.from("A"));
  for (let i = 0; i < 60; i++) nested = Buffer.concat([field(1, Buffer.from("A")), field(3, nested)]);
  const set = (body: Buffer): string =>
    field(1, Buffer.concat([field(1, Buffer.from("f.proto")), body])).toString("base64");
  assert.match(fault(set(field(4, nested))), /messages are more than 32 deep/);
  for (let i = 0; i < 20_000; i++) nested = field(3, nested.subarray(0, 1000));
  assert.notEqual(fault(set(field(4, nested))), "");
  const wide = Buffer.concat(
    Array.from({ length: 10_001 }, (_, i) => field(4, field(1, Buffer.from(`A${i}`)))),
  );
  assert.match(fault(set(wide)), /more than 10000 messages/);
  const self = field(3, Buffer.from("f.proto"));
  assert.match(fault(set(self)), /"f\.proto" imports itself/);
});

test("no content does anything but compile or be refused", () => {
  const words = fc.constantFrom(
    ..."syntax = \"proto3\" ; message A B { } int32 a 1 2 , map < string > oneof enum service rpc returns ( ) stream reserved to max optional repeated option [ ] . __proto__ constructor import 'x.proto' package".split(
      " ",
    ),
  );
  const text = fc.array(words, { maxLength: 60 }).map((parts) => parts.join(" "));
  fc.assert(
    fc.property(fc.oneof(text, fc.string(), fc.base64String({ maxLength: 200 })), (content) => {
      fault(content === "" ? " " : content);
    }),
    { numRuns: 500 },
  );
});
