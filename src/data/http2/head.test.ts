import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { HTTP_CONFIG } from "../../../test/shapes/echo-listener.ts";
import { HeaderList } from "../../lib/headers.ts";
import { InvalidFieldError } from "../http1/errors.ts";
import { headFields, trailerFields } from "./answer-fields.ts";
import { FrameBudget } from "./frame-budget.ts";
import { isProtocolError, readHead, readTrailers } from "./head.ts";

type Fields = Record<string, string>;

const GET: Fields = { ":method": "GET", ":scheme": "https", ":path": "/a?b", ":authority": "A.com:443" };

function read(fields: Fields, more: readonly string[] = [], hasEnded = true, limits = {}) {
  return readHead([...Object.entries(fields).flat(), ...more], hasEnded, { ...HTTP_CONFIG, ...limits });
}

function verdict(...given: Parameters<typeof read>): string {
  const head = read(...given);
  return isProtocolError(head) ? head.code : "taken";
}

describe("the head of a request over HTTP/2", () => {
  test("is the same as over HTTP/1.1 for the exchange", () => {
    const head = read(GET, ["accept", "*/*", "x-a", "1", "x-a", "2"]);
    assert.ok(!isProtocolError(head));
    assert.equal(head.method, "GET");
    assert.equal(head.target, "/a?b");
    assert.equal(head.authority, "a.com:443");
    assert.equal(head.version, "2");
    assert.equal(head.bodyLength, 0);
    assert.equal(head.headers.joined("host"), "A.com:443");
    assert.deepEqual(head.headers.getAll("x-a"), ["1", "2"]);
    assert.ok(head.headers.isChecked);
  });

  test("has values without blanks at their ends, as over HTTP/1.1", () => {
    const sent = [
      "x-a",
      " v w\t",
      "x-b",
      "\t",
      "x-c",
      "",
      "te",
      "trailers ",
      "cookie",
      " a=1",
      "cookie",
      "b=2 ",
    ];
    const head = read(GET, sent);
    assert.ok(!isProtocolError(head));
    assert.deepEqual(
      [...head.headers].filter(([name]) => name !== "host"),
      [
        ["x-a", "v w"],
        ["x-b", ""],
        ["x-c", ""],
        ["te", "trailers"],
        ["cookie", "a=1; b=2"],
      ],
    );
    assert.equal(verdict(GET, ["content-length", " 5 "], false), "taken");
    assert.equal(verdict({ ...GET, ":authority": " a.com" }), "host");
  });

  test("has one cookie of all its crumbs", () => {
    const head = read(GET, ["cookie", "a=1", "x", "y", "cookie", "b=2", "cookie", "c=3"]);
    assert.ok(!isProtocolError(head));
    assert.deepEqual(head.headers.getAll("cookie"), ["a=1; b=2; c=3"]);
  });

  test("has a body of a stated or an unknown length, or none", () => {
    const lengthOf = (more: string[], hasEnded: boolean): number => {
      const head = read({ ...GET, ":method": "POST" }, more, hasEnded);
      assert.ok(!isProtocolError(head));
      return head.bodyLength;
    };
    assert.equal(lengthOf([], true), 0);
    assert.equal(lengthOf([], false), -1);
    assert.equal(lengthOf(["content-length", "12"], false), 12);
    assert.equal(lengthOf(["content-length", "0"], false), 0);
    assert.equal(lengthOf(["content-length", "0"], true), 0);
  });

  const refused: [string, Fields, string[]?][] = [
    ["field-name", { ...GET, ":protocol": "websocket" }],
    ["field-name", GET, ["X-Upper", "1"]],
    ["field-name", GET, ["", "1"]],
    ["field-name", GET, ["a b", "1"]],
    ["field-value", GET, ["x", "a\r\nb: c"]],
    ["field-value", GET, ["x", "a\0"]],
    ["method", { ...GET, ":method": "" }],
    ["method", { ...GET, ":method": "get" }],
    ["method", { ...GET, ":method": "GET / HTTP/1.1\r\n" }],
    ["method-refused", { ...GET, ":method": "CONNECT" }],
    ["method-refused", { ...GET, ":method": "TRACE" }],
    ["scheme", { ...GET, ":scheme": "file" }],
    ["scheme", { ":method": "GET", ":path": "/", ":authority": "a" }],
    ["target", { ...GET, ":path": "" }],
    ["target", { ...GET, ":path": "*" }],
    ["target", { ...GET, ":path": "a" }],
    ["target", { ...GET, ":path": "http://b/" }],
    ["target", { ...GET, ":path": "/a b" }],
    ["target", { ...GET, ":path": "/a#b" }],
    ["target", { ...GET, ":path": "/ HTTP/1.1\r\nX: y" }],
    ["target", { ...GET, ":path": "/\xe9" }],
    ["target-too-long", { ...GET, ":path": `/${"a".repeat(9000)}` }],
    ["host-missing", { ...GET, ":authority": "" }],
    ["host", { ...GET, ":authority": "u@a.com" }],
    ["host", { ...GET, ":authority": "a.com/b" }],
    ["host", { ...GET, ":authority": "" }, ["host", ""]],
    ["host-repeated", GET, ["host", "a.com:443", "host", "a.com:443"]],
    ["host-differs", GET, ["host", "b.com"]],
    ["host-differs", GET, ["host", "a.com"]],
    ["connection-field", GET, ["connection", "close"]],
    ["connection-field", GET, ["keep-alive", "1"]],
    ["connection-field", GET, ["proxy-connection", "1"]],
    ["connection-field", GET, ["transfer-encoding", "chunked"]],
    ["connection-field", GET, ["upgrade", "websocket"]],
    ["connection-field", GET, ["http2-settings", ""]],
    ["connection-field", GET, ["te", "gzip"]],
    ["content-length", GET, ["content-length", "+1"]],
    ["content-length", GET, ["content-length", ""]],
    ["content-length", GET, ["content-length", "1"]],
    ["content-length", GET, ["content-length", "9".repeat(16)]],
    ["content-length-repeated", GET, ["content-length", "0", "content-length", "0"]],
    ["too-many-fields", GET, Array.from({ length: 101 }, (_, i) => [`x-${i}`, ""]).flat()],
    ["head-too-large", GET, ["x", "a".repeat(33_000)]],
    ["taken", GET, ["host", "A.COM:443"]],
    ["taken", { ...GET, ":authority": "" }, ["host", "a.com"]],
    ["taken", { ...GET, ":method": "OPTIONS", ":path": "*" }],
    ["taken", GET, ["te", "trailers"]],
    ["taken", GET, Array.from({ length: 150 }, () => ["cookie", "a=1"]).flat()],
  ];
  for (const [code, fields, more] of refused) {
    const shape = JSON.stringify([...Object.entries({ ...fields }), ...(more ?? [])]).slice(0, 160);
    test(`${code}: ${shape}`, () => assert.equal(verdict(fields, more), code));
  }

  test("keeps to the settings for underscores and unusual bodies", () => {
    const colliding = ["x_real_ip", "1"];
    const head = read(GET, colliding);
    assert.ok(!isProtocolError(head));
    assert.equal(head.headers.has("x_real_ip"), false);
    assert.equal(verdict(GET, colliding, true, { underscoresInHeaders: "reject" }), "underscore");
    assert.equal(verdict(GET, [], false, { refuseUnusualBodies: true }), "unusual-body");
    assert.equal(verdict({ ...GET, ":path": "/a#b" }, [], true, { relaxedTarget: true }), "taken");
  });

  test("expects to be told to go on only with a body", () => {
    const expecting = (hasEnded: boolean): boolean => {
      const head = read({ ...GET, ":method": "PUT" }, ["expect", "100-Continue"], hasEnded);
      assert.ok(!isProtocolError(head));
      return head.expectsContinue;
    };
    assert.equal(expecting(false), true);
    assert.equal(expecting(true), false);
  });
});

describe("trailers over HTTP/2", () => {
  test("are passed on without what routes or frames a message", () => {
    const deciding =
      "host te authorization cookie content-type expect x-forwarded-for x-real-ip x-consumer-username";
    const dropped = deciding.split(" ").flatMap((name) => [name, "trailers"]);
    const trailers = readTrailers([...dropped, "x-a", "1"], HTTP_CONFIG);
    assert.ok(trailers !== null && !isProtocolError(trailers));
    assert.deepEqual([...trailers], [["x-a", "1"]]);
    assert.deepEqual([...(readTrailers(["x-a", " 1 "], HTTP_CONFIG) as HeaderList)], [["x-a", "1"]]);
    assert.equal(readTrailers([], HTTP_CONFIG), null);
    for (const fields of [
      ["content-length", "1"],
      ["transfer-encoding", "chunked"],
      [":path", "/"],
      ["X", "1"],
      ["x", "a\nb"],
    ]) {
      const broken = readTrailers(fields, HTTP_CONFIG);
      assert.ok(broken !== null && isProtocolError(broken), fields[0]);
    }
  });
});

describe("the sections of an answer over HTTP/2", () => {
  test("have lower-case names, every repeated field, and no field of a connection", () => {
    const headers = new HeaderList();
    for (const [name, value] of [
      ["Set-Cookie", "a"],
      ["Set-Cookie", "b"],
      ["Connection", "close"],
      ["Transfer-Encoding", "chunked"],
      ["Keep-Alive", "timeout=5"],
      ["Content-Length", "7"],
    ])
      headers.add(name, value);
    assert.deepEqual(headFields(200, headers, 9), [
      ":status",
      "200",
      "set-cookie",
      "a",
      "set-cookie",
      "b",
      "content-length",
      "9",
    ]);
    assert.deepEqual(trailerFields(HeaderList.from({ "Grpc-Status": "0" })), ["grpc-status", "0"]);
  });

  test("have no blanks at the ends of values, whatever plugins put into them", () => {
    assert.deepEqual(trailerFields(HeaderList.from({ "x-a": " b c\t" })), ["x-a", "b c"]);
  });

  test("cannot be split by what plugins put into them", () => {
    for (const [name, value] of [
      ["x", "a\r\nb: c"],
      ["x", "\u0100"],
      [":status", "200"],
      ["x y", ""],
      ["", ""],
    ])
      assert.throws(() => headFields(200, HeaderList.from([[name, value]]), -1), InvalidFieldError);
  });
});

test("a budget of frames is spent at once and earned with time", () => {
  const budget = new FrameBudget(2, 10, 1000);
  assert.ok(budget.take(1000));
  assert.ok(budget.take(1000));
  assert.ok(!budget.take(1000));
  assert.ok(!budget.take(1050));
  assert.ok(budget.take(1150));
  assert.ok(!budget.take(1150));
  assert.ok(budget.take(60_000));
  assert.ok(budget.take(60_000));
  assert.ok(!budget.take(60_000));
});
