import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { checkExpression, compileExpression, ExpressionError } from "./expression.ts";

const VALUES: Record<string, unknown> = {
  a: "1",
  text: "Hello",
  ten: "10",
  hex: "0x10",
  spaced: " 7 ",
  zero: "",
  list: ["x", 3],
  number: 5,
  flag: true,
  ip: "10.1.2.3",
  ip6: "fe80::1",
};
const reader = { variable: (name: string) => VALUES[name] };

function holds(expression: unknown): boolean {
  return compileExpression(expression).evaluate(reader);
}

test("compares as lua-resty-expr does", () => {
  const table: [comparison: unknown[], expected: boolean][] = [
    [["a", "==", "1"], true],
    [["a", "==", 1], true],
    [["a", "==", "01"], false],
    [["text", "==", 1], false],
    [["text", "~=", 1], true],
    [["missing", "==", null], true],
    [["a", "==", null], false],
    [["a", "~=", null], true],
    [["missing", "~=", null], false],
    [["missing", "==", "1"], false],
    [["missing", "~=", "1"], true],
    [["hex", "==", 16], true],
    [["spaced", "==", 7], true],
    [["zero", "==", 0], false],
    [["flag", "==", true], true],
    [["a", "==", true], false],
    [["number", "==", 5], true],
    [["number", "==", "5"], false],
    [["ten", ">", 9], true],
    [["ten", ">", "9"], true],
    [["ten", ">", 10], false],
    [["ten", ">=", 10], true],
    [["ten", "<", 11], true],
    [["ten", "<=", 9], false],
    [["text", ">", 1], false],
    [["text", "<", 1], false],
    [["missing", "<", 1], false],
    [["ten", "<", null], false],
    [["ten", "<", "eleven"], false],
    [["text", "~~", "^H.l+o$"], true],
    [["text", "~~", "hello"], false],
    [["text", "~*", "HELLO"], true],
    [["number", "~~", "^5$"], true],
    [["missing", "~~", ".*"], false],
    [["list", "~~", "x"], false],
    [["a", "in", ["1", "2"]], true],
    [["a", "in", [1]], false],
    [["a", "in", "1"], false],
    [["missing", "in", [null]], false],
    [["list", "has", "x"], true],
    [["list", "has", 3], true],
    [["list", "has", "3"], false],
    [["text", "has", "H"], false],
    [["ip", "ipmatch", "10.0.0.0/8"], true],
    [["ip", "ipmatch", ["1.1.1.1", "10.1.2.3"]], true],
    [["ip6", "IPMATCH", ["fe80::/10"]], true],
    [["ip", "ipmatch", ["11.0.0.0/8"]], false],
    [["text", "ipmatch", ["0.0.0.0/0"]], false],
    [["missing", "ipmatch", ["0.0.0.0/0"]], false],
    [["a", "!", "==", "1"], false],
    [["a", "!", "==", "2"], true],
    [["missing", "!", ">", 1], true],
    [["text", "!", "~~", "^H"], false],
    [["ip", "!", "ipmatch", ["10.0.0.0/8"]], false],
    [["a", "1"], true],
    [["text", "Hello"], true],
    [["text", "hello"], false],
  ];
  for (const [comparison, expected] of table)
    assert.equal(holds([comparison]), expected, JSON.stringify(comparison));
});

test("a value that is too long for its pattern does not match", () => {
  const expression = compileExpression([["long", "~~", "\\w+(?=;)"]]);
  assert.equal(expression.evaluate({ variable: () => "a;" }), true);
  assert.equal(expression.evaluate({ variable: () => `${"a".repeat(5000)};` }), false);
});

test("joins comparisons by AND, OR and their negations, in any case and depth", () => {
  const yes = ["a", "==", "1"];
  const no = ["a", "==", "2"];
  const table: [expression: unknown[], expected: boolean][] = [
    [[], true],
    [[yes, yes], true],
    [[yes, no], false],
    [["AND", yes, yes], true],
    [["and", yes, no], false],
    [["OR", no, yes], true],
    [["or", no, no], false],
    [["!AND", yes, no], true],
    [["!and", yes, yes], false],
    [["!OR", no, no], true],
    [["!Or", no, yes], false],
    [["OR", no, ["AND", yes, ["!OR", no, no]]], true],
    [[yes, ["OR", no, yes]], true],
    [["OR", [no, yes], [yes, yes]], true],
    [[[yes, yes], [[no]]], false],
  ];
  for (const [expression, expected] of table)
    assert.equal(holds(expression), expected, JSON.stringify(expression));
});

test("refuses malformed expressions with a reason", () => {
  let deep: unknown[] = ["a", "==", "1"];
  for (let i = 0; i < 40; i++) deep = [deep];
  const table: [expression: unknown, reason: RegExp][] = [
    [undefined, /^missing argument rule$/],
    [{}, /^missing argument rule$/],
    [["a", "==", "1"], /^rule should be wrapped inside brackets$/],
    [[1], /^rule should be wrapped inside brackets$/],
    [[["a"]], /^invalid expression$/],
    [[[]], /^rule too short$/],
    [[{}], /^rule too short$/],
    [["AND", {}, ["a", "==", "1"]], /^rule too short$/],
    [["OR", ["a", "==", "1"]], /^rule too short$/],
    [["OR", ["a", "==", "1"], ["AND"]], /^rule too short$/],
    [[["a", "=", "1"]], /^invalid operator '='$/],
    [[["a", "constructor", "1"]], /^invalid operator 'constructor'$/],
    [[["a", 5, "1"]], /^invalid operator '5'$/],
    [[["!", "a", "==", "1"]], /^bad 'not' expression$/],
    [[["a", "!", "1"]], /^invalid operator '!'$/],
    [[["a", "==", "1"], "x"], /^invalid expression$/],
    [[[null, "==", "1"]], /^invalid expression$/],
    [[["a", "ipmatch", ""]], /^invalid ip address$/],
    [[["a", "ipmatch", []]], /^invalid ip address$/],
    [[["a", "ipmatch", ["nowhere"]]], /^invalid ip address: nowhere/],
    [[["a", "~~", "("]], /missing \) at offset 1/],
    [[["a", "~~", ["x"]]], /^invalid pattern \["x"\], expected a string/],
    [deep, /nested deeper than 32/],
    [Array.from({ length: 1025 }, () => ["a", "==", "1"]), /more than 1024 comparisons/],
  ];
  for (const [expression, reason] of table) {
    assert.match(checkExpression(expression) ?? "", reason, JSON.stringify(expression));
    assert.throws(() => compileExpression(expression), ExpressionError);
  }
  assert.equal(checkExpression([["a", "==", "1"]]), null);
});

test("any JSON is either refused or evaluates to a boolean", () => {
  const word = fc.constantFrom(
    "a",
    "missing",
    "AND",
    "!OR",
    "!",
    "==",
    "~=",
    ">",
    "~~",
    "in",
    "has",
    "ipmatch",
    "1.2.3.4",
    "__proto__",
  );
  const json = fc.letrec<{ node: unknown }>((tie) => ({
    node: fc.oneof(
      { maxDepth: 4 },
      word,
      fc.integer(),
      fc.constant(null),
      fc.array(tie("node"), { maxLength: 4 }),
    ),
  })).node;
  fc.assert(
    fc.property(json, (expression) => {
      if (checkExpression(expression) === null) assert.equal(typeof holds(expression), "boolean");
    }),
    { numRuns: 3000 },
  );
});
