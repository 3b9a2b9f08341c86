import assert from "node:assert/strict";
import { describe, test } from "node:test";
import * as fc from "fast-check";
import { HeaderList } from "../../lib/headers.ts";
import { UNKNOWN_LENGTH } from "../transport.ts";
import { InvalidFieldError } from "./errors.ts";
import { stripHopByHop } from "./hop-by-hop.ts";
import { fieldsText, lastChunkText, lengthField, requestHeadText, responseHeadText } from "./serializer.ts";

describe("head of a request to an upstream", () => {
  const headers = HeaderList.from([
    ["Host", "a"],
    ["X", "1"],
    ["x", "2"],
  ]);

  test("keeps order, case and repetition, and adds the framing of the body", () => {
    const head = (method: string, length: number) => requestHeadText(method, "/t?q", headers, length);
    const start = (method: string) => `${method} /t?q HTTP/1.1\r\nHost: a\r\nX: 1\r\nx: 2\r\n`;
    assert.equal(head("GET", 0), `${start("GET")}\r\n`);
    assert.equal(head("POST", 0), `${start("POST")}Content-Length: 0\r\n\r\n`);
    assert.equal(head("GET", 7), `${start("GET")}Content-Length: 7\r\n\r\n`);
    assert.equal(head("PUT", UNKNOWN_LENGTH), `${start("PUT")}Transfer-Encoding: chunked\r\n\r\n`);
  });

  test("an upgrade brings its Connection field", () => {
    const upgrade = HeaderList.from({ Host: "a", Upgrade: "websocket" });
    assert.match(
      requestHeadText("GET", "/", upgrade, 0),
      /\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n$/,
    );
  });

  for (const [method, target] of [
    ["GET /x", "/"],
    ["", "/"],
    ["G\r\nT", "/"],
    ["GET", ""],
    ["GET", "/a b"],
    ["GET", "/a\r\nHost: b"],
    ["GET", "/é"],
    ["GET", "/\u010a"],
  ]) {
    test(`method ${JSON.stringify(method)} with target ${JSON.stringify(target)} is refused`, () => {
      assert.throws(() => requestHeadText(method, target, headers, 0), InvalidFieldError);
    });
  }
});

describe("head of an answer", () => {
  test("a known reason, an odd one, and the Connection field", () => {
    const none = new HeaderList();
    assert.equal(
      responseHeadText(200, "OK", none, lengthField(3), true),
      "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: keep-alive\r\n\r\n",
    );
    assert.equal(
      responseHeadText(200, "Fine", none, "", false),
      "HTTP/1.1 200 Fine\r\nConnection: close\r\n\r\n",
    );
    assert.equal(responseHeadText(799, "", none, "", false), "HTTP/1.1 799 \r\nConnection: close\r\n\r\n");
    assert.throws(() => responseHeadText(200, "O\r\nX: 1", none, "", false), InvalidFieldError);
  });

  test("framing and connection fields in the list are left out", () => {
    const headers = HeaderList.from({
      "Content-Length": "9",
      "Transfer-Encoding": "chunked",
      Connection: "x",
      "Keep-Alive": "1",
      X: "1",
    });
    assert.equal(fieldsText(headers), "X: 1\r\n");
  });

  test("trailers stand behind the last chunk", () => {
    assert.equal(lastChunkText(null), "0\r\n\r\n");
    assert.equal(lastChunkText(HeaderList.from({ A: "1" })), "0\r\nA: 1\r\n\r\n");
  });
});

describe("P13: fields that plugins made", () => {
  test("whatever name and value: one line on the wire that reads the same, or an error", () => {
    const odd = fc.oneof(
      fc.string(),
      fc.string({ unit: "binary" }),
      fc.string({ unit: fc.constantFrom("a", "\r", "\n", "\0", ":", " ", "é", "\u010d", "\u010a") }),
    );
    fc.assert(
      fc.property(odd, odd, (name, value) => {
        const list = new HeaderList();
        list.add(name, value);
        let text: string;
        try {
          text = fieldsText(list);
        } catch (error) {
          assert.ok(error instanceof InvalidFieldError);
          return;
        }
        if (text === "") return;
        const wire = Buffer.from(text, "latin1").toString("latin1");
        assert.equal(wire, `${name}: ${value}\r\n`);
        assert.equal(wire.match(/[\r\n\0]/g)?.length, 2);
        assert.match(name, /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/);
      }),
      { numRuns: 2000 },
    );
  });
});

describe("hop-by-hop fields", () => {
  const strip = (fields: [string, string][]): string => {
    const list = HeaderList.from(fields);
    stripHopByHop(list);
    return fieldsText(list);
  };

  const rows: [name: string, fields: [string, string][], kept: string][] = [
    [
      "connection management goes",
      [
        ["Connection", "keep-alive"],
        ["Keep-Alive", "timeout=5"],
        ["Proxy-Connection", "x"],
        ["A", "1"],
      ],
      "A: 1\r\n",
    ],
    [
      "framing goes",
      [
        ["Content-Length", "5"],
        ["Transfer-Encoding", "chunked"],
        ["A", "1"],
      ],
      "A: 1\r\n",
    ],
    [
      "upgrades go",
      [
        ["Upgrade", "h2c"],
        ["HTTP2-Settings", "AAM"],
        ["Connection", "Upgrade, HTTP2-Settings"],
      ],
      "",
    ],
    [
      "what belongs to one connection goes, whether Connection names it or not",
      [
        ["Upgrade", "h2c"],
        ["HTTP2-Settings", "AAM"],
        ["Keep-Alive", "timeout=5"],
        ["Proxy-Connection", "x"],
        ["Transfer-Encoding", "chunked"],
        ["A", "1"],
      ],
      "A: 1\r\n",
    ],
    [
      "what Connection names goes",
      [
        ["X-Hop", "1"],
        ["Connection", "close, X-Hop , x-other"],
        ["X-Other", "2"],
        ["A", "1"],
      ],
      "A: 1\r\n",
    ],
    [
      "repeated Connection fields count together",
      [
        ["Connection", "a"],
        ["B", "1"],
        ["A", "1"],
        ["Connection", "b"],
      ],
      "",
    ],
    ["TE is kept for trailers only", [["TE", "gzip, trailers;q=1, trailers"]], "TE: trailers\r\n"],
    ["TE without trailers goes", [["TE", "gzip"]], ""],
    [
      "end-to-end fields that Connection names to do harm stay",
      [
        [
          "Connection",
          "Host, Authorization, X-Forwarded-For, Cookie, Content-Type, X-Real-IP, X-Consumer-Username",
        ],
        ["Host", "a"],
        ["Authorization", "b"],
        ["X-Forwarded-For", "c"],
        ["Cookie", "d"],
        ["Content-Type", "e"],
        ["X-Real-IP", "f"],
      ],
      "Host: a\r\nAuthorization: b\r\nX-Forwarded-For: c\r\nCookie: d\r\nContent-Type: e\r\nX-Real-IP: f\r\n",
    ],
  ];
  for (const [name, fields, kept] of rows) {
    test(name, () => {
      assert.equal(strip(fields), kept);
    });
  }
});
