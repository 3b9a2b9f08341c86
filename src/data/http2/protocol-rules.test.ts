/**
 * What RFC 9113 and RFC 7541 want of a server whose client breaks their rules, or uses them to the letter: a frame each, in the
 * order of the sections, as the tool h2spec goes through them. Either the connection ends with a GOAWAY of this code, or the
 * stream with a RST_STREAM, or nothing happens and the next request is served.
 */

import assert from "node:assert/strict";
import { describe, test, type TestContext } from "node:test";
import { type EchoListener, echoListener } from "../../../test/shapes/echo-listener.ts";
import {
  block,
  CONTINUATION,
  DATA,
  END_HEADERS,
  END_STREAM,
  type Frame,
  frame,
  FrameClient,
  get,
  GOAWAY,
  HEADERS,
  PING,
  pseudo,
  RST_STREAM,
  SETTINGS,
  WINDOW_UPDATE,
  word,
} from "./frame-client.ts";

const PRIORITY = 2;
const PUSH_PROMISE = 5;
const UNKNOWN_TYPE = 0x16;
const PADDED = 8;
const WITH_PRIORITY = 0x20;
const ACK = 1;

const PROTOCOL = 1;
const INTERNAL = 2;
const FLOW_CONTROL = 3;
const STREAM_CLOSED = 5;
const FRAME_SIZE = 6;
const COMPRESSION = 9;

/** Of the request that shows that the connection goes on. */
const LAST = 99;
/** RFC 7541 appendix A: an answer's first field, as an index of the static table. */
const STATUS_200 = 0x88;
const STATUS_400 = 0x8c;

type Verdict = "served" | "refused" | "closed" | `connection ${number}` | `stream ${number}`;

interface Case {
  name: string;
  sent: Buffer | Buffer[];
  /** Once a request on stream 1 has its whole answer. */
  answered?: true;
  /** One of these. */
  wanted: readonly Verdict[];
}

const connection = (...codes: number[]): readonly Verdict[] =>
  codes.map((code) => `connection ${code}` as const);
/** What is an error of a stream may be treated as one of the connection (RFC 9113 5.4.2). */
const stream = (...codes: number[]): readonly Verdict[] =>
  codes.flatMap((code) => [`stream ${code}` as const, `connection ${code}` as const]);
const served: readonly Verdict[] = ["served"];
/** A message that is malformed: reset, or answered before that (RFC 9113 8.1.1). */
const malformed: readonly Verdict[] = [...stream(PROTOCOL), "refused"];

const post = (id: number, more: readonly (readonly [string, string])[] = [], flags = END_HEADERS): Buffer =>
  frame(HEADERS, flags, id, block([...pseudo("POST", "/"), ...more]));
const whole = (fields: readonly (readonly [string, string])[]): Buffer =>
  frame(HEADERS, END_HEADERS | END_STREAM, 1, block(fields));
const setting = (id: number, value: number): Buffer => {
  const bytes = Buffer.alloc(6);
  bytes.writeUInt16BE(id);
  bytes.writeUInt32BE(value, 2);
  return frame(SETTINGS, 0, 0, bytes);
};
const withoutPseudo = (name: string): [string, string][] =>
  pseudo("GET", "/").filter(([own]) => own !== name);

const SECTIONS: readonly [string, readonly Case[]][] = [
  [
    "4.1 frame format",
    [
      {
        name: "a frame of an unknown type",
        sent: frame(UNKNOWN_TYPE, 0, 0, Buffer.alloc(8)),
        wanted: served,
      },
      { name: "unknown flags", sent: frame(PING, 0x16, 0, Buffer.alloc(8)), wanted: served },
      { name: "the reserved bit", sent: frame(PING, 0, 0x8000_0000, Buffer.alloc(8)), wanted: served },
    ],
  ],
  [
    "4.2 frame size",
    [
      {
        name: "DATA of 16,384 bytes",
        sent: [post(1), frame(DATA, END_STREAM, 1, Buffer.alloc(16_384))],
        wanted: served,
      },
      {
        name: "DATA of more",
        sent: [post(1), frame(DATA, END_STREAM, 1, Buffer.alloc(16_385))],
        wanted: stream(FRAME_SIZE),
      },
      {
        name: "HEADERS of more",
        sent: frame(HEADERS, END_HEADERS, 1, Buffer.alloc(16_385)),
        wanted: connection(FRAME_SIZE),
      },
    ],
  ],
  [
    "4.3 header compression",
    [
      {
        name: "a block that is none",
        sent: frame(HEADERS, END_HEADERS | END_STREAM, 1, Buffer.from([0x40])),
        wanted: connection(COMPRESSION),
      },
      {
        name: "PRIORITY within a block",
        sent: [post(1, [], 0), frame(PRIORITY, 0, 1, Buffer.alloc(5))],
        wanted: connection(PROTOCOL),
      },
      {
        name: "HEADERS of another stream within a block",
        sent: [post(1, [], 0), post(3)],
        wanted: connection(PROTOCOL),
      },
    ],
  ],
  [
    "5.1 stream states",
    [
      {
        name: "DATA on an idle stream",
        sent: frame(DATA, END_STREAM, 1, Buffer.from("x")),
        wanted: connection(PROTOCOL),
      },
      {
        name: "RST_STREAM on an idle stream",
        sent: frame(RST_STREAM, 0, 1, word(8)),
        wanted: connection(PROTOCOL),
      },
      {
        name: "WINDOW_UPDATE on an idle stream",
        sent: frame(WINDOW_UPDATE, 0, 1, word(100)),
        wanted: connection(PROTOCOL),
      },
      {
        name: "CONTINUATION on an idle stream",
        sent: frame(CONTINUATION, END_HEADERS, 1, block([["a", "b"]])),
        wanted: connection(PROTOCOL),
      },
      {
        name: "DATA behind the end of the request",
        sent: [get(1), frame(DATA, END_STREAM, 1, Buffer.from("x"))],
        wanted: stream(STREAM_CLOSED),
      },
      {
        name: "HEADERS behind the end of the request",
        sent: [get(1), get(1)],
        wanted: stream(STREAM_CLOSED),
      },
      {
        name: "CONTINUATION behind the end of the request",
        sent: [get(1), frame(CONTINUATION, END_HEADERS, 1, block([["a", "b"]]))],
        wanted: connection(PROTOCOL, STREAM_CLOSED),
      },
      {
        // The RFC wants STREAM_CLOSED: nghttp2 takes it for a frame that was under way.
        name: "DATA on a stream that was reset",
        sent: [post(1), frame(RST_STREAM, 0, 1, word(8)), frame(DATA, END_STREAM, 1, Buffer.from("x"))],
        wanted: served,
      },
      {
        name: "PRIORITY on a stream that was reset",
        sent: [post(1), frame(RST_STREAM, 0, 1, word(8)), frame(PRIORITY, 0, 1, Buffer.alloc(5))],
        wanted: served,
      },
    ],
  ],
  [
    // Here the RFC wants STREAM_CLOSED for DATA and HEADERS: nghttp2 takes them for frames that were under way.
    "5.1 streams whose answer is complete, too",
    [
      {
        name: "DATA",
        answered: true,
        sent: frame(DATA, END_STREAM, 1, Buffer.from("x")),
        wanted: served,
      },
      { name: "HEADERS", answered: true, sent: get(1), wanted: served },
      {
        name: "CONTINUATION",
        answered: true,
        sent: frame(CONTINUATION, END_HEADERS, 1, block([["a", "b"]])),
        wanted: connection(PROTOCOL, STREAM_CLOSED),
      },
      {
        name: "PRIORITY, WINDOW_UPDATE and RST_STREAM",
        answered: true,
        sent: [
          frame(PRIORITY, 0, 1, Buffer.alloc(5)),
          frame(WINDOW_UPDATE, 0, 1, word(1)),
          frame(RST_STREAM, 0, 1, word(8)),
        ],
        wanted: served,
      },
      {
        name: "more DATA than a connection has a window for, which it gets back",
        answered: true,
        sent: Array.from({ length: 128 }, () => frame(DATA, 0, 1, Buffer.alloc(16_384))),
        wanted: served,
      },
    ],
  ],
  [
    "5.1.1 stream identifiers",
    [
      { name: "an even one", sent: get(2), wanted: connection(PROTOCOL) },
      // The RFC wants PROTOCOL_ERROR: nghttp2 takes it for trailers that were under way.
      { name: "one below the last one", sent: [post(5), get(3)], wanted: served },
    ],
  ],
  [
    "5.5 extensions",
    [
      {
        name: "an unknown frame within a block",
        sent: [post(1, [], 0), frame(UNKNOWN_TYPE, 0, 0)],
        wanted: connection(PROTOCOL),
      },
    ],
  ],
  [
    "6.1 DATA",
    [
      { name: "on stream 0", sent: frame(DATA, 0, 0, Buffer.from("x")), wanted: connection(PROTOCOL) },
      {
        name: "with padding",
        sent: [post(1), frame(DATA, PADDED | END_STREAM, 1, Buffer.from([2, 120, 0, 0]))],
        wanted: served,
      },
      {
        name: "with more padding than bytes",
        sent: [post(1), frame(DATA, PADDED | END_STREAM, 1, Buffer.from([6, 1, 1, 1]))],
        wanted: connection(PROTOCOL),
      },
    ],
  ],
  [
    "6.2 HEADERS",
    [
      { name: "on stream 0", sent: get(0), wanted: connection(PROTOCOL) },
      {
        name: "with priority",
        sent: frame(
          HEADERS,
          END_HEADERS | END_STREAM | WITH_PRIORITY,
          1,
          Buffer.concat([Buffer.alloc(5), block(pseudo("GET", "/"))]),
        ),
        wanted: served,
      },
      {
        name: "with more padding than bytes",
        sent: frame(
          HEADERS,
          END_HEADERS | END_STREAM | PADDED,
          1,
          Buffer.concat([Buffer.from([0xff]), block(pseudo("GET", "/"))]),
        ),
        wanted: connection(PROTOCOL),
      },
    ],
  ],
  [
    "6.3 PRIORITY",
    [
      // The RFC wants PROTOCOL_ERROR: priorities are out of date, and nghttp2 does not look at them.
      { name: "on stream 0", sent: frame(PRIORITY, 0, 0, Buffer.alloc(5)), wanted: served },
      {
        name: "of a stream that depends on itself",
        sent: frame(PRIORITY, 0, 3, Buffer.concat([word(3), Buffer.alloc(1)])),
        wanted: served,
      },
      {
        name: "of another length",
        sent: [post(1), frame(PRIORITY, 0, 1, Buffer.alloc(4))],
        wanted: stream(FRAME_SIZE),
      },
    ],
  ],
  [
    "6.4 RST_STREAM",
    [
      { name: "on stream 0", sent: frame(RST_STREAM, 0, 0, word(8)), wanted: connection(PROTOCOL) },
      {
        name: "of another length",
        sent: [post(1), frame(RST_STREAM, 0, 1, Buffer.alloc(3))],
        wanted: connection(FRAME_SIZE),
      },
      { name: "with an unknown code", sent: [post(1), frame(RST_STREAM, 0, 1, word(0xff))], wanted: served },
    ],
  ],
  [
    "6.5 SETTINGS",
    [
      {
        name: "an acknowledgement with content",
        sent: frame(SETTINGS, ACK, 0, Buffer.alloc(6)),
        wanted: connection(FRAME_SIZE),
      },
      { name: "on a stream", sent: frame(SETTINGS, 0, 1, Buffer.alloc(6)), wanted: connection(PROTOCOL) },
      {
        name: "of another length",
        sent: frame(SETTINGS, 0, 0, Buffer.alloc(3)),
        wanted: connection(FRAME_SIZE),
      },
      { name: "ENABLE_PUSH of 2", sent: setting(2, 2), wanted: connection(PROTOCOL) },
      {
        name: "INITIAL_WINDOW_SIZE beyond 2^31 - 1",
        sent: setting(4, 0x8000_0000),
        wanted: connection(FLOW_CONTROL),
      },
      { name: "MAX_FRAME_SIZE below 2^14", sent: setting(5, 0x3fff), wanted: connection(PROTOCOL) },
      { name: "MAX_FRAME_SIZE beyond 2^24 - 1", sent: setting(5, 0x100_0000), wanted: connection(PROTOCOL) },
      { name: "an unknown one", sent: setting(0xff, 1), wanted: served },
    ],
  ],
  [
    "6.7 PING, 6.8 GOAWAY",
    [
      { name: "PING on a stream", sent: frame(PING, 0, 1, Buffer.alloc(8)), wanted: connection(PROTOCOL) },
      {
        name: "PING of another length",
        sent: frame(PING, 0, 0, Buffer.alloc(6)),
        wanted: connection(FRAME_SIZE),
      },
      // The RFC wants it ignored: Node.js tolerates no such nonsense.
      {
        name: "an acknowledgement that nobody waits for",
        sent: frame(PING, ACK, 0, Buffer.alloc(8)),
        wanted: connection(INTERNAL),
      },
      {
        name: "GOAWAY on a stream",
        sent: frame(GOAWAY, 0, 1, Buffer.alloc(8)),
        wanted: connection(PROTOCOL),
      },
    ],
  ],
  [
    "6.9 WINDOW_UPDATE",
    [
      {
        name: "of nothing, on the connection",
        sent: frame(WINDOW_UPDATE, 0, 0, word(0)),
        wanted: connection(PROTOCOL),
      },
      {
        name: "of nothing, on a stream",
        sent: [post(1), frame(WINDOW_UPDATE, 0, 1, word(0))],
        wanted: stream(PROTOCOL),
      },
      {
        name: "of another length",
        sent: frame(WINDOW_UPDATE, 0, 0, Buffer.alloc(3)),
        wanted: connection(FRAME_SIZE),
      },
      {
        name: "beyond 2^31 - 1, on the connection",
        sent: [frame(WINDOW_UPDATE, 0, 0, word(0x7fff_ffff)), frame(WINDOW_UPDATE, 0, 0, word(0x7fff_ffff))],
        wanted: connection(FLOW_CONTROL),
      },
      {
        name: "beyond 2^31 - 1, on a stream",
        sent: [
          post(1),
          frame(WINDOW_UPDATE, 0, 1, word(0x7fff_ffff)),
          frame(WINDOW_UPDATE, 0, 1, word(0x7fff_ffff)),
        ],
        wanted: stream(FLOW_CONTROL),
      },
    ],
  ],
  [
    "6.10 CONTINUATION",
    [
      {
        name: "several of them",
        sent: [
          post(1, [], END_STREAM),
          frame(CONTINUATION, 0, 1, block([["a", "b"]])),
          frame(CONTINUATION, END_HEADERS, 1, block([["c", "d"]])),
        ],
        wanted: served,
      },
      {
        name: "behind the end of a block",
        sent: [post(1), frame(CONTINUATION, END_HEADERS, 1, block([["a", "b"]]))],
        wanted: connection(PROTOCOL),
      },
      {
        name: "on stream 0",
        sent: [post(1, [], 0), frame(CONTINUATION, END_HEADERS, 0, block([["a", "b"]]))],
        wanted: connection(PROTOCOL),
      },
      {
        name: "DATA within a block",
        sent: [post(1, [], 0), frame(DATA, END_STREAM, 1, Buffer.from("x"))],
        wanted: connection(PROTOCOL),
      },
    ],
  ],
  [
    "8.1 and 8.2 messages and fields",
    [
      {
        name: "a second block that does not end the request",
        sent: [post(1), frame(HEADERS, END_HEADERS, 1, block([["x-sum", "1"]]))],
        wanted: malformed,
      },
      {
        name: "a pseudo-field in trailers",
        sent: [post(1), frame(HEADERS, END_HEADERS | END_STREAM, 1, block([[":method", "GET"]]))],
        wanted: malformed,
      },
      {
        name: "a name in capitals",
        sent: whole([...pseudo("GET", "/"), ["X-Test", "1"]]),
        wanted: malformed,
      },
      {
        name: "an unknown pseudo-field",
        sent: whole([...pseudo("GET", "/"), [":test", "1"]]),
        wanted: malformed,
      },
      {
        name: "a pseudo-field of answers",
        sent: whole([...pseudo("GET", "/"), [":status", "200"]]),
        wanted: malformed,
      },
      {
        name: "a pseudo-field behind others",
        sent: whole([...withoutPseudo(":path"), ["x-test", "1"], [":path", "/"]]),
        wanted: malformed,
      },
      {
        name: "a field of connections",
        sent: whole([...pseudo("GET", "/"), ["connection", "keep-alive"]]),
        wanted: malformed,
      },
      {
        name: "te other than trailers",
        sent: whole([...pseudo("GET", "/"), ["te", "gzip"]]),
        wanted: malformed,
      },
    ],
  ],
  [
    "8.3 pseudo-fields of requests",
    [
      { name: "an empty path", sent: whole([...withoutPseudo(":path"), [":path", ""]]), wanted: malformed },
      ...[":method", ":scheme", ":path"].map((name) => ({
        name: `none of ${name}`,
        sent: whole(withoutPseudo(name)),
        wanted: malformed,
      })),
      ...[":method", ":scheme", ":path", ":authority"].map((name) => ({
        name: `${name} twice`,
        sent: whole([...pseudo("GET", "/"), [name, pseudo("GET", "/").find(([own]) => own === name)![1]]]),
        wanted: malformed,
      })),
      {
        name: "a shorter body than said",
        sent: [post(1, [["content-length", "2"]]), frame(DATA, END_STREAM, 1, Buffer.from("x"))],
        wanted: malformed,
      },
      // The RFC wants PROTOCOL_ERROR for the stream: Node.js ends the connection, with INTERNAL_ERROR.
      {
        name: "a longer body than said",
        sent: [
          post(1, [["content-length", "1"]]),
          frame(DATA, 0, 1, Buffer.from("x")),
          frame(DATA, END_STREAM, 1, Buffer.from("x")),
        ],
        wanted: connection(INTERNAL),
      },
      {
        name: "PUSH_PROMISE from a client",
        sent: frame(PUSH_PROMISE, END_HEADERS, 1, Buffer.concat([word(2), block(pseudo("GET", "/"))])),
        wanted: connection(PROTOCOL),
      },
    ],
  ],
  [
    "RFC 7541",
    [
      {
        name: "an index beyond the tables",
        sent: frame(
          HEADERS,
          END_HEADERS | END_STREAM,
          1,
          Buffer.concat([block(pseudo("GET", "/")), Buffer.from([0xff, 0x70])]),
        ),
        wanted: connection(COMPRESSION),
      },
      {
        name: "index 0",
        sent: frame(
          HEADERS,
          END_HEADERS | END_STREAM,
          1,
          Buffer.concat([block(pseudo("GET", "/")), Buffer.from([0x80])]),
        ),
        wanted: connection(COMPRESSION),
      },
      {
        name: "a table size behind a field",
        sent: frame(
          HEADERS,
          END_HEADERS | END_STREAM,
          1,
          Buffer.concat([block(pseudo("GET", "/")), Buffer.from([0x20])]),
        ),
        wanted: connection(COMPRESSION),
      },
      {
        name: "a table size beyond the settings",
        sent: frame(
          HEADERS,
          END_HEADERS | END_STREAM,
          1,
          Buffer.concat([Buffer.from([0x3f, 0xe1, 0xff, 0x03]), block(pseudo("GET", "/"))]),
        ),
        wanted: connection(COMPRESSION),
      },
      {
        name: "Huffman padding that is a whole byte",
        sent: frame(
          HEADERS,
          END_HEADERS | END_STREAM,
          1,
          Buffer.concat([block(pseudo("GET", "/")), Buffer.from([0, 0x81, 0x1f, 0x82, 0x1f, 0xff])]),
        ),
        wanted: connection(COMPRESSION),
      },
      {
        name: "Huffman padding of zeros",
        sent: frame(
          HEADERS,
          END_HEADERS | END_STREAM,
          1,
          Buffer.concat([block(pseudo("GET", "/")), Buffer.from([0, 0x81, 0x1f, 0x81, 0x18])]),
        ),
        wanted: connection(COMPRESSION),
      },
      {
        name: "Huffman code of the end of a string",
        sent: frame(
          HEADERS,
          END_HEADERS | END_STREAM,
          1,
          Buffer.concat([
            block(pseudo("GET", "/")),
            Buffer.from([0, 0x81, 0x1f, 0x84, 0xff, 0xff, 0xff, 0xff]),
          ]),
        ),
        wanted: connection(COMPRESSION),
      },
    ],
  ],
];

function isDecisive({ type, stream: id }: Frame): boolean {
  return (
    type === GOAWAY || (id !== 0 && (type === RST_STREAM || type === HEADERS) && (id === LAST || id < 8))
  );
}

function verdictOf(found: Frame | null): Verdict {
  if (found === null) return "closed";
  if (found.type === GOAWAY) return `connection ${found.payload.readUInt32BE(4)}`;
  if (found.type === RST_STREAM) return `stream ${found.payload.readUInt32BE(0)}`;
  return found.payload[0] === STATUS_400 ? "refused" : "served";
}

async function opened(t: TestContext): Promise<{ echo: EchoListener; raw: FrameClient }> {
  const echo = await echoListener();
  t.after(() => {
    echo.listener.close();
    echo.deadlines.close();
  });
  const raw = await FrameClient.open(echo.port);
  t.after(() => raw.socket.destroy());
  return { echo, raw };
}

for (const [section, cases] of SECTIONS)
  describe(`HTTP/2, ${section}:`, () => {
    for (const { name, sent, answered, wanted } of cases)
      test(`${name}: ${wanted.join(" or ")}`, async (t) => {
        const { echo, raw } = await opened(t);
        if (answered) {
          raw.send(get(1));
          await raw.until(({ stream: id, flags }) => id === 1 && (flags & END_STREAM) !== 0);
          raw.frames.length = 0;
        }
        raw.send(...[sent].flat());
        const goesOn = wanted === served;
        if (goesOn) raw.send(get(LAST));
        const found = await raw.until(
          (one) => isDecisive(one) && (!goesOn || one.type !== HEADERS || one.stream === LAST),
        );
        const verdict = verdictOf(found);
        assert.ok(wanted.includes(verdict), `${verdict}, ${wanted.join(" or ")} was expected`);
        if (goesOn) assert.equal(found!.payload[0], STATUS_200);
        if (answered) assert.equal(echo.seen.length, goesOn ? 2 : 1);
        // Nothing of a malformed request reaches an exchange whole.
        else if (wanted === malformed) assert.deepEqual(echo.seen, []);
        assert.deepEqual(
          echo.refused.filter((text) => text.startsWith("fault")),
          [],
        );
      });
  });

// The RFC calls the request malformed (8.2.1): nghttp2 takes the field out and does not tell.
test("HTTP/2: a value with a line end or a zero byte reaches nobody, nor does a field that it would make", async (t) => {
  for (const value of ["a\r\nx-made: 1", "a\nx-made: 1", "a\0b"]) {
    const { echo, raw } = await opened(t);
    raw.send(whole([...pseudo("GET", "/"), ["x-test", value], ["x-last", "1"]]));
    assert.equal((await raw.until(isDecisive))?.payload[0], STATUS_200);
    assert.deepEqual(
      echo.seen.map(({ headers }) => headers.map(([name]) => name)),
      [["x-last", "host"]],
    );
  }
});

test("HTTP/2, 6.9: an answer keeps to windows of any size, also those that have become negative", async (t) => {
  const { raw } = await opened(t);
  const lengths = (): number[] =>
    raw.frames
      .filter(({ type, stream: id }) => type === DATA && id === 1)
      .map(({ payload }) => payload.length);
  /** What a PING brings back stands behind all that was sent before it. */
  const settled = async (mark: number): Promise<void> => {
    const bytes = Buffer.alloc(8, mark);
    raw.send(frame(PING, 0, 0, bytes));
    await raw.until(({ type, flags, payload }) => type === PING && flags === ACK && payload.equals(bytes));
  };
  raw.send(setting(4, 1), get(1));
  await raw.until(({ type }) => type === DATA);
  assert.deepEqual(lengths(), [1]);
  raw.send(setting(4, 3));
  await raw.until(() => lengths().length === 2);
  assert.deepEqual(lengths(), [1, 2]);
  // Three bytes are out, and two were permitted: the next one needs two more.
  raw.send(setting(4, 2), frame(WINDOW_UPDATE, 0, 1, word(1)));
  await settled(1);
  assert.deepEqual(lengths(), [1, 2]);
  raw.send(frame(WINDOW_UPDATE, 0, 1, word(1)));
  await raw.until(() => lengths().length === 3);
  assert.deepEqual(lengths(), [1, 2, 1]);
});
