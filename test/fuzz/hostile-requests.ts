/** Streams of requests in which every part may be the regular or a hostile one. */

import type { Random } from "./random.ts";

const METHODS = ["GET", "POST", "PUT", "HEAD", "DELETE", "OPTIONS", "PATCH", "PURGE", "PROPFIND"];
const TARGETS = [
  "/",
  "/a/b?c=d",
  "/%2e%2e/",
  "//x",
  "*",
  "http://b.example/y",
  "http://b.example",
  "/a|b{c}",
  "/#f",
  "/a\\b",
  "a",
  "",
  "/x y",
  "/\x7f",
  "/é",
];
const VERSIONS = [
  "HTTP/1.1",
  "HTTP/1.1",
  "HTTP/1.1",
  "HTTP/1.1",
  "HTTP/1.0",
  "HTTP/2.0",
  "HTTP/1.2",
  "http/1.1",
  "HTTP/1.1 ",
  "HTTP/1.",
  "",
];
const LINE_ENDS = ["\n", "\r", "\r\r\n", "\n\r", " \r\n", "\r\n ", "\r\n\t"];
const NAMES = [
  "X",
  "Accept",
  "X-Long-Name-Of-A-Field",
  "Cookie",
  "Connection",
  "Host",
  "Content-Length",
  "Transfer-Encoding",
  "Expect",
  "X_Y",
  "TE",
  "Trailer",
  "Keep-Alive",
  "X ",
  " X",
  "X\t",
  "",
  "X\0",
  "X\xe9",
  "Content-Length ",
  "transfer_encoding",
];
const VALUES = [
  "",
  "1",
  "chunked",
  "5",
  "0",
  "+5",
  "5, 5",
  "gzip, chunked",
  "identity",
  "a\tb",
  " padded ",
  "\xe9\xff",
  "a\0b",
  "a\x7fb",
  "a\x01",
  "keep-alive",
  "close",
  "100-continue",
  "b.example",
  "x: y",
  "a\rb",
];
const CHUNKS = [
  "5\r\nhello\r\n0\r\n\r\n",
  "0\r\n\r\n",
  "3;x=y\r\nabc\r\n0\r\n\r\n",
  "1\r\na\r\n1\r\nb\r\n0\r\nT: 1\r\n\r\n",
  "5\nhello\r\n0\r\n\r\n",
  "+1\r\na\r\n0\r\n\r\n",
  "0x1\r\na\r\n0\r\n\r\n",
  "5 \r\nhello\r\n0\r\n\r\n",
  "2\r\nabc\r\n0\r\n\r\n",
  "0\r\n",
  "\r\n",
  "A\r\n0123456789\r\n0\r\n\r\n",
  "3;x\ny\r\nabc\r\n0\r\n\r\n",
];

export function hostileStream(random: Random): Buffer {
  let text = "";
  for (let count = 1 + random.below(3); count > 0; count--) text += hostileRequest(random);
  return Buffer.from(text, "latin1");
}

function hostileRequest(random: Random): string {
  const oddity = random.pick([0, 0.02, 0.1]);
  const lineEnd = (): string => (random.chance(oddity / 2) ? random.pick(LINE_ENDS) : "\r\n");
  const usual = <T>(regular: T, choices: readonly T[]): T =>
    random.chance(oddity) ? random.pick(choices) : regular;
  let text = random.chance(oddity) ? random.pick(["\r\n", "\n", "\r\n\r\n", " "]) : "";
  text += `${random.pick(METHODS)}${usual(" ", ["  ", "\t"])}${random.chance(0.2) ? random.pick(TARGETS) : "/path"}`;
  text += ` ${usual("HTTP/1.1", VERSIONS)}${lineEnd()}`;
  if (!random.chance(oddity)) text += `Host: a.example${lineEnd()}`;
  for (let fields = random.below(5); fields > 0; fields--) {
    const name = random.chance(oddity)
      ? random.pick(NAMES)
      : random.pick(["X", "Accept", "Cookie", "X-Long-Name-Of-A-Field"]);
    text += `${name}:${usual(" ", ["", "\t", "  "])}${random.chance(0.3) ? random.pick(VALUES) : "value"}${lineEnd()}`;
  }
  switch (random.below(4)) {
    case 0:
      text += `Transfer-Encoding: ${usual("chunked", VALUES)}${lineEnd()}${lineEnd()}`;
      return text + (random.chance(0.5) ? CHUNKS[0] : random.pick(CHUNKS));
    case 1: {
      const body = random.pick(["", "hello", "GET /smuggled HTTP/1.1\r\nHost: b\r\n\r\n"]);
      return `${text}Content-Length: ${usual(String(body.length), VALUES)}${lineEnd()}${lineEnd()}${body}`;
    }
    default:
      return text + lineEnd();
  }
}
