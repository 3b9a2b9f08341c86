import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import {
  DEFAULT_PATH_RULES,
  encodePath,
  encodeUnfit,
  normalizePath,
  normalizeTarget,
  rawPathOf,
  type NormalTarget,
} from "./uri.ts";

test("normalises paths as nginx does", () => {
  const table: [raw: string, path: string | null][] = [
    ["/", "/"],
    ["/a/b", "/a/b"],
    ["//a///b//", "/a/b/"],
    ["/a/./b", "/a/b"],
    ["/a/.", "/a/"],
    ["/a/..", "/"],
    ["/a/../b", "/b"],
    ["/a/b/../../c", "/c"],
    ["/..", null],
    ["/a/../..", null],
    ["/a/../../b", null],
    ["/...", "/..."],
    ["/.a/..b", "/.a/..b"],
    ["/%61", "/a"],
    ["/a%2Fb", "/a/b"],
    ["/a%2f%2E%2e/b", "/b"],
    ["/%2e%2e/a", null],
    ["/a%2f/b", "/a/b"],
    ["/%252e", "/%2e"],
    ["/a%3Fb%23c", "/a?b#c"],
    ["/a+b", "/a+b"],
    ["/%", null],
    ["/%4", null],
    ["/%zz", null],
    ["/%00", null],
    ["/a%0d%0Ab", "/a\r\nb"],
    ["/%E4%BD%A0", "/你"],
    ["/\xe4\xbd\xa0", "/你"],
    ["/%ff", "/\udcff"],
    ["/%c0%af", "/\udcc0\udcaf"],
    ["/a;b=c", "/a;b=c"],
    ["*", "*"],
    ["a", null],
    ["", null],
  ];
  for (const [raw, path] of table) assert.equal(normalizePath(raw), path, raw);
});

test("splits the query off, and a fragment that came so far", () => {
  const table: [target: string, path: string, query: string, hasQuery: boolean][] = [
    ["/a", "/a", "", false],
    ["/a?", "/a", "", true],
    ["/a?b=%2F&c", "/a", "b=%2F&c", true],
    ["/a?b?c", "/a", "b?c", true],
    ["/a#b?c", "/a", "", false],
    ["/a?b#c", "/a", "b", true],
    ["/%61?%61", "/a", "%61", true],
  ];
  for (const [target, path, query, hasQuery] of table) {
    const result = normalized(target);
    assert.deepEqual([result.path, result.query, result.hasQuery], [path, query, hasQuery], target);
  }
});

function normalized(target: string, rules = {}): NormalTarget {
  const result: NormalTarget = { path: "", routingPath: "", query: "", hasQuery: false };
  assert.ok(normalizeTarget(target, { ...DEFAULT_PATH_RULES, ...rules }, result), target);
  return result;
}

test("like a servlet: parameters go, and what hides in them is refused", () => {
  const rules = { ...DEFAULT_PATH_RULES, normalizeLikeServlet: true };
  const table: [raw: string, path: string | null][] = [
    ["/a;x=1/b;y/c", "/a/b/c"],
    ["/a%3bx/b", "/a/b"],
    ["/a/;x", "/a/"],
    ["/a/..;/b", null],
    ["/a/.;/b", null],
    ["/a/;/b", null],
    ["/a/%252e%252E;/b", null],
    ["/a/.%252e;/b", null],
    ["/a;", "/a"],
  ];
  for (const [raw, path] of table) assert.equal(normalizePath(raw, rules), path, raw);
});

test("deletes the tail slash of everything but the root", () => {
  assert.equal(normalized("/a/", { deleteTailSlash: true }).path, "/a");
  assert.equal(normalized("/a%2f", { deleteTailSlash: true }).path, "/a");
  assert.equal(normalized("/", { deleteTailSlash: true }).path, "/");
});

test("keeps encoded slashes for the router alone, and only where nothing else was resolved", () => {
  const table: [raw: string, path: string, routingPath: string][] = [
    ["/a%2fb", "/a/b", "/a%2Fb"],
    ["/a%2Fb%20c", "/a/b c", "/a%2Fb c"],
    ["/a%2f/b", "/a/b", "/a/b"],
    ["/a%2f../b", "/b", "/b"],
    ["/a/b", "/a/b", "/a/b"],
  ];
  for (const [raw, path, routingPath] of table) {
    const result = normalized(raw, { matchEncodedSlash: true });
    assert.deepEqual([result.path, result.routingPath], [path, routingPath], raw);
  }
});

test("escapes what nginx escapes in a path", () => {
  assert.equal(
    encodePath("/a b\"#%?<>\\^`{|}~'()[]!$&*+,;=:@"),
    "/a%20b%22%23%25%3F%3C%3E%5C%5E%60%7B%7C%7D~'()[]!$&*+,;=:@",
  );
  assert.equal(encodePath("/你\r\n\x7f"), "/%E4%BD%A0%0D%0A%7F");
  assert.equal(encodePath("/😀\udcff\ud800"), "/%F0%9F%98%80%FF%EF%BF%BD");
});

test("any bytes survive: an encoded normal path normalises to itself", () => {
  const piece = fc.oneof(
    fc.constantFrom("/", ".", "..", "%2F", "%2e", "a", ";", "%25", "%3f"),
    fc.integer({ min: 1, max: 255 }).map((byte) => `%${byte.toString(16).padStart(2, "0")}`),
    fc.integer({ min: 0x80, max: 0xff }).map((byte) => String.fromCharCode(byte)),
  );
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 20 }), (pieces) => {
      const path = normalizePath(`/${pieces.join("")}`);
      if (path === null) return;
      assert.ok(!/\/\.{0,2}\//.test(path) && !/\/\.{1,2}$/.test(path), path);
      assert.equal(normalizePath(encodePath(path)), path);
      assert.match(encodePath(path), /^[!-~]*$/);
    }),
    { numRuns: 3000 },
  );
});

test("bytes of a path without structure come out as they went in", () => {
  fc.assert(
    fc.property(fc.uint8Array({ min: 1, maxLength: 12 }), (bytes) => {
      const raw = Buffer.from(bytes.filter((byte) => byte !== 0x2f && byte !== 0x2e));
      const encoded = `/x${[...raw].map((byte) => `%${byte.toString(16).padStart(2, "0")}`).join("")}`;
      const back = encodePath(normalizePath(encoded)!).replaceAll(/%(..)/g, (_, hex: string) =>
        String.fromCharCode(Number.parseInt(hex, 16)),
      );
      assert.deepEqual(Buffer.from(back.slice(2), "latin1"), raw);
    }),
    { numRuns: 2000 },
  );
});

test("the raw path of a target ends at the query", () => {
  assert.equal(rawPathOf("/a%2Fb?c"), "/a%2Fb");
  assert.equal(rawPathOf("/a"), "/a");
});

test("what is unfit for a request line is encoded, and nothing else", () => {
  assert.equal(encodeUnfit("/a?b=c%20d&e=f#g"), "/a?b=c%20d&e=f#g");
  assert.equal(encodeUnfit("/a b\r\n\x7f?ä=中"), "/a%20b%0D%0A%7F?%C3%A4=%E4%B8%AD");
});
