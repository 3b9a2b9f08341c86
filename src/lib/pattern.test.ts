import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { RE2JS } from "re2js";
import {
  checkPattern,
  compilePattern,
  compileReplacement,
  MAX_PATTERN_INPUT,
  PatternError,
} from "./pattern.ts";
import { searchCost } from "./pattern/cost.ts";
import { emitLinear, emitNative, forgetsCaptures } from "./pattern/emit.ts";
import { parsePattern } from "./pattern/parse.ts";

test("matches as PCRE does, also where JavaScript spells or means it otherwise", () => {
  const table: [pattern: string, flags: string, input: string, matched: (string | undefined)[] | null][] = [
    ["^/foo/(.*)$", "jo", "/foo/bar", ["/foo/bar", "bar"]],
    ["(?i)hello", "", "HeLLo", ["HeLLo"]],
    ["a(?i)b|c", "", "C", ["C"]],
    ["a(?i:b)c", "", "aBc", ["aBc"]],
    ["a(?i:b)c", "", "aBC", null],
    ["(?i)a(?-i)b", "", "AB", null],
    ["(?s).", "", "\n", ["\n"]],
    [".", "", "\n", null],
    [".", "", "\r", ["\r"]],
    ["(?m)^b$", "", "a\nb\nc", ["b"]],
    ["^b$", "", "a\nb\nc", null],
    ["a$", "", "a\n", ["a"]],
    ["a\\z", "", "a\n", null],
    ["a\\Z", "", "a\n", ["a"]],
    ["(?m)\\Ab", "", "a\nb", null],
    ["(?x) a  b # comment\n c", "", "abc", ["abc"]],
    ["a b", "x", "ab", ["ab"]],
    ["\\Qa.b\\E+", "", "a.bb", ["a.bb"]],
    ["[[:alpha:]_]+[[:^digit:]]", "", "1ab_-", ["ab_-"]],
    ["[]a]+", "", "]a", ["]a"]],
    ["[^]a]", "", "]b", ["b"]],
    ["[a\\-z]+", "", "-a-zb", ["-a-z"]],
    ["[\\w-]+", "", "a-b", ["a-b"]],
    ["(?P<n>a)(?<m>b)(?'o'c)\\k<n>(?P=m)", "", "abcab", ["abcab", "a", "b", "c"]],
    ["(a)(b)\\g{-1}\\g1", "", "abba", ["abba", "a", "b"]],
    ["(?i)(a)\\1", "", "aA", ["aA", "a"]],
    ["\\d++\\.", "", "12.", ["12."]],
    ["a++a", "", "aaa", null],
    ["(?>a|ab)c", "", "abc", null],
    ["(x)(?>a+|b)a|(y)", "", "xba", ["xba", "x", undefined]],
    ["(x)(?>a|ab)c(z)", "", "xacz", ["xacz", "x", "z"]],
    ["\\h\\R", "", " \r\n", [" \r\n"]],
    ["\\s", "", "\u00a0", null],
    ["\\x41\\x{42}\\o{103}\\t", "", "ABC\t", ["ABC\t"]],
    ["a{2}b{1,}c{0,1}d{,2}", "", "aabd{,2}", ["aabd{,2}"]],
    ["{a}", "", "{a}", ["{a}"]],
    ["a??b", "U", "ab", ["ab"]],
    ["a+", "U", "aaa", ["a"]],
    ["a", "a", "ba", null],
    ["(?#comment)a", "", "a", ["a"]],
    ["(?!/admin)/\\w+", "", "/admin/x", ["/x"]],
    ["^(?!/admin).*$", "", "/admin", null],
    ["(?<=a)b", "", "ab", ["b"]],
    ["^/foo(.*)?$", "", "/foo", ["/foo", ""]],
    ["^(?:(a)|(b))*$", "", "ab", ["ab", "a", "b"]],
    ["^(?:(x)?y)+$", "", "xyy", ["xyy", "x"]],
    ["^(?:(?:(x)*y))+$", "", "xyy", ["xyy", "x"]],
    ["(a)|(b)", "", "b", ["b", undefined, "b"]],
    ["你+", "", "你你", ["你你"]],
    ["😀+", "", "😀😀", ["😀😀"]],
    ["[^/]+", "", "a\udcffb/", ["a\udcffb"]],
    ["", "", "x", [""]],
    ["\\/\\-\\_\\~", "", "/-_~", ["/-_~"]],
    ["\\N\\v\\e\\cA", "", "x\u000b\u001b\u0001", ["x\u000b\u001b\u0001"]],
  ];
  for (const [source, flags, input, expected] of table) {
    const pattern = compilePattern(source, flags);
    const match = pattern.exec(input);
    assert.deepEqual(match && [...match.groups], expected, `${source} ${flags}`);
    assert.equal(pattern.test(input), expected !== null, source);
  }
});

test("refuses what it cannot translate, with the reason and the place", () => {
  const table: [pattern: string, reason: RegExp][] = [
    ["(", /missing \) at offset 1/],
    ["a)", /unmatched \) at offset 1/],
    ["[a", /missing \] at offset 0/],
    ["*a", /nothing to repeat at offset 0/],
    ["a**", /nothing to repeat/],
    ["a{2}{3}", /nothing to repeat/],
    ["a{3,2}", /maximum is below/],
    ["a{1001}", /more than 1000/],
    ["((a{100}){100}){100}", /larger than/],
    ["[z-a]", /range out of order/],
    ["[[:nope:]]", /unknown class/],
    ["(?R)", /recursion/],
    ["(?(1)a|b)", /conditionals/],
    ["(*FAIL)", /verbs/],
    ["\\p{L}", /\\p is not supported/],
    ["a\\K", /\\K is not supported/],
    ["\\", /\\ at the end/],
    ["\\2(a)", /group 2, which does not exist/],
    ["\\k<x>", /group x, which does not exist/],
    ["(?<n>a)(?<n>b)", /second group/],
    ["\\x{110000}", /beyond U\+10FFFF/],
    ["a".repeat(8193), /at most 8192/],
    ["(".repeat(100) + ")".repeat(100), /nested deeper/],
  ];
  for (const [source, reason] of table) {
    assert.match(checkPattern(source) ?? "", reason, source);
    assert.throws(() => compilePattern(source), PatternError);
  }
  assert.match(checkPattern("a", "iq") ?? "", /unknown flag "q"/);
});

test("computes the degree of the search", () => {
  const table: [pattern: string, degree: number][] = [
    ["^abc", 0],
    ["abc", 1],
    ["^/api/(.*)$", 1],
    ["^/([^/]+)/([^/]+)/([^/]+)$", 2],
    ["^/(\\d+)/([a-z]+)/x$", 1],
    ["^(/[a-z]+)*$", 1],
    ["^(?:foo|bar)*baz", 1],
    ["foo|bar", 1],
    ["^(\\d{1,3}\\.){3}\\d{1,3}$", 0],
    ["^/(.*)/(.*)$", 2],
    ["a+b", 2],
    ["^a*a*$", 2],
    [".*.*x", 3],
    ["(a+)+$", Infinity],
    ["(a|a)*b", Infinity],
    ["(a|ab)*c", 2],
    ["(a|ab)*b", Infinity],
    ["(?:a|$)*b", Infinity],
    ["^(?=.*a)b", 1],
    ["^(?:(?=.*x)a)*b", 3],
    ["^(a?){2}$", Infinity],
    ["^(a)*\\1b", 2],
  ];
  for (const [source, degree] of table)
    assert.equal(searchCost(parsePattern(source, "").root).degree, degree, source);
});

/** Known catastrophic patterns with a text that provokes them: [pattern, what precedes, what is repeated, what follows]. */
const CATASTROPHIC: [pattern: string, prefix: string, pump: string, suffix: string][] = [
  ["^(a+)+$", "", "a", "!"],
  ["(a+)+$", "", "a", "!"],
  ["([a-zA-Z]+)*$", "", "a", "!"],
  ["(a|aa)+$", "", "a", "!"],
  ["(a|a?)+$", "", "a", "!"],
  ["^(a|a)*$", "", "a", "!"],
  ["(.*a){20}", "", "a", "!"],
  ["(.*)*x", "", "a", ""],
  ["(x+x+)+y", "", "x", ""],
  ["(x*)*y", "", "x", ""],
  ["(\\w*)+$", "", "a", "!"],
  ["^(\\w+\\s?)*$", "", "a ", "!"],
  [
    "^([a-zA-Z0-9])(([\\-.]|[_]+)?([a-zA-Z0-9]+))*(@){1}[a-z0-9]+[.]{1}(([a-z]{2,3})|([a-z]{2,3}[.]{1}[a-z]{2,3}))$",
    "",
    "a",
    "!",
  ],
  ["^\\d+1\\d+2\\d+3$", "", "1", "x"],
  ["\\s+$", "a", " ", "a"],
  ["^\\s+|\\s+$", "a", " ", "a"],
  ['[^"]*"[^"]*"$', "", 'a"', "x"],
  [".*.*=.*", "", "x", ""],
  ["(?:.*,){11}P", "", "1,", "x"],
  ["(.*?,){11}P", "", "1,", "x"],
  ["<([a-z]+)(?:[^>]*)>.*<$", "", "<a>", "x"],
  ["^(([a-z])+.)+[A-Z]([a-z])+$", "", "a", ""],
  ["(([^/]+)/)*$", "", "a", "!/!"],
  ["^(?:(?:a{1,50}){1,50})$", "", "a", "!"],
  ["(a{1,30}){1,30}b", "", "a", ""],
  ['^(([^<>()[\\]\\\\.,;:\\s@"]+(\\.[^<>()[\\]\\\\.,;:\\s@"]+)*)|(".+"))@x$', "", "a.", "!"],
  ["(?i)(?:select|union).*(?:from|all).*(?:where|and)", "", "select from ", ""],
  ["^.*(?:a.*){5}z$", "", "a", ""],
  ["((ab)*)+c", "", "ab", ""],
  ["(a*)*(b*)*(c*)*d", "", "abc", ""],
  ["^((a|b|ab)*c)*$", "", "ab", ""],
  ["(?:a?){60}a{60}$", "", "a", "b"],
  ["(0|[1-9][0-9]*|0[xX][0-9a-f]+)*z", "", "0", ""],
  ["(\\.|[^.])*!$", "", "..", ""],
  ["^(?:\\+|-)?(\\d+)*\\.?(\\d+)*$", "", "1", "x"],
  ['((?:[^\\\\"]|\\\\.|\\\\)*)"$', "", "\\a", ""],
  ["(?:\\s*\\w+\\s*)*;", "", "a ", ""],
  ["(%[0-9a-f]{2}|[^%])*%$", "", "%41", "z"],
  ["^(?:.|\\n)*\\nx$", "", "\n", "y"],
  ["(a|b|c|ab|bc)+d", "", "abc", ""],
  ["(^|.*)x(^|.*)y$", "", "x", ""],
  ["\\b(\\w+)\\b.*\\b(\\w+)\\b=$", "", "a ", ""],
  // Without a linear form.
  ["^(?=(a+)+$)b", "", "a", "!"],
  ["(a*)*\\1b", "", "a", ""],
  ["(?>(a+)+)b", "", "a", ""],
  ["(?<!x)(a+)+$", "", "a", "!"],
  ["(?=.*a.*a.*a)x", "", "a", ""],
  ["(.+)\\1+$", "", "ab", "!"],
  ["\\w+(?=;)", "", "a", "!"],
];

test("P9a: catastrophic patterns are refused, or run within bounds", { timeout: 30_000 }, () => {
  let ran = 0;
  for (const [source, prefix, pump, suffix] of CATASTROPHIC) {
    const cost = checkPattern(source);
    if (cost !== null) {
      assert.match(cost, /exponential time|time of the order/, source);
      continue;
    }
    const pattern = compilePattern(source);
    for (const length of [30, 300, 4000, 20_000]) {
      const input = prefix + pump.repeat(length / pump.length) + suffix;
      try {
        pattern.test(input);
        if (length <= 4000) pattern.exec(input);
        ran++;
      } catch (error) {
        assert.match(String(error), /RangeError: input of \d+ characters .* expected at most/, source);
      }
    }
  }
  assert.ok(CATASTROPHIC.length >= 45 && ran > 100);
});

test("an input beyond the limit is refused", () => {
  assert.throws(() => compilePattern("a").test("b".repeat(MAX_PATTERN_INPUT + 1)), RangeError);
});

const atom = fc.constantFrom(
  "a",
  "b",
  "[ab]",
  ".",
  "[^a]",
  "\\w",
  "\\n",
  "^",
  "$",
  "\\b",
  "\\A",
  "\\z",
  "(?i:A)",
);
const quantifier = fc.constantFrom("", "", "", "*", "+", "?", "{2}", "{1,2}", "*?", "+?");
const { expression } = fc.letrec<{ expression: string; group: string }>((tie) => ({
  expression: fc
    .array(fc.tuple(fc.oneof({ maxDepth: 3 }, atom, tie("group")), quantifier), {
      minLength: 1,
      maxLength: 4,
    })
    .map((parts) => parts.map((part) => part.join("")).join("")),
  group: fc
    .tuple(fc.constantFrom("(", "(?:"), fc.array(tie("expression"), { minLength: 1, maxLength: 2 }))
    .map(([open, options]) => `${open}${options.join("|")})`),
}));

test("both engines agree on the text that is written for them, captures included", () => {
  const input = fc.string({ unit: fc.constantFrom("a", "b", "A", "\n", "-"), maxLength: 9 });
  fc.assert(
    fc.property(expression, fc.array(input, { minLength: 4, maxLength: 4 }), (source, inputs) => {
      const { root } = parsePattern(source, "");
      fc.pre(searchCost(root).degree < Infinity); // these never run in V8
      const native = new RegExp(emitNative(root)!.source);
      const written = emitLinear(root);
      fc.pre(written !== null);
      const linear = RE2JS.compile(written);
      for (const text of inputs) {
        // Where "$" stands before a last line feed RE2 takes that along, so only the answer is compared there.
        assert.equal(linear.test(text), native.test(text), `${source} ${JSON.stringify(text)}`);
        if (text.endsWith("\n") || forgetsCaptures(root)) continue;
        assert.deepEqual(
          Array.from(linear.exec(text) ?? []),
          Array.from(native.exec(text) ?? []),
          `${source} ${text}`,
        );
      }
    }),
    { numRuns: 3000 },
  );
});

test("replaces the first match or all, with both engines", () => {
  const table: [source: string, input: string, replacement: string, all: boolean, expected: string][] = [
    ["^/foo/(.*)$", "/foo/bar", "/$1/x", false, "/bar/x"],
    ["o", "foo", "0", false, "f0o"],
    ["o", "foo", "0", true, "f00"],
    ["(a)(b)?", "ac", "[$2${1}$0$$$]", true, "[aa$$]c"],
    ["x*", "abc", "-", true, "-a-b-c-"],
    ["z", "abc", "-", true, "abc"],
    ["abc", "abc", "", true, ""],
    ["^a", "aaa", "b", true, "baa"],
    ["(o+)+", "foo boo", "0", true, "f0 b0"],
    ["(?:x*)*", "abc", "-", true, "-a-b-c-"],
    ["^(a+)+", "aaa aaa", "b", true, "b aaa"],
  ];
  for (const [source, input, replacement, all, expected] of table) {
    assert.equal(
      compilePattern(source).replace(input, compileReplacement(replacement), all),
      expected,
      source,
    );
  }
});

test("tells the index of named groups, and remembers compiled patterns", () => {
  const pattern = compilePattern("(x)(?P<name>y)");
  assert.equal(pattern.names.get("name"), 2);
  assert.equal(compilePattern("(x)(?P<name>y)"), pattern);
  assert.notEqual(compilePattern("(x)(?P<name>y)", "i"), pattern);
});
