import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { isFieldName, wireText, wireValue } from "./field-value.ts";

test("text of an operator goes out as UTF-8", () => {
  assert.equal(wireText("plain, text"), "plain, text");
  assert.equal(wireText("é"), "\xc3\xa9");
  assert.equal(wireText("日"), "\xe6\x97\xa5");
});

test("bytes that came over the wire stay, characters beyond them become UTF-8", () => {
  assert.equal(wireValue("\xc3\xa9"), "\xc3\xa9");
  assert.equal(wireValue("/日"), "/\xe6\x97\xa5");
});

test("line breaks cannot end a field", () => {
  assert.equal(wireValue("a\r\nSet-Cookie: b"), "a%0D%0ASet-Cookie: b");
  assert.equal(wireText("a\0b"), "a%00b");
});

test("whatever goes in, what comes out is fit for a field", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary" }), (text) => {
      assert.match(wireValue(text), /^[\t\x20-\x7e\x80-\xff]*$/);
      assert.match(wireText(text), /^[\t\x20-\x7e\x80-\xff]*$/);
    }),
  );
});

test("names of fields are tokens", () => {
  assert.ok(isFieldName("X-Request_Id!"));
  for (const name of ["", "a b", "a:b", "é", "a\r"]) assert.ok(!isFieldName(name), JSON.stringify(name));
});
