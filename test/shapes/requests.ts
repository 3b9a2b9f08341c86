/**
 * Raw request shapes and what becomes of each: the table behind the promise that no request is smuggled.
 *
 * A row is refused with a status, or forwarded, and then says what is forwarded. Families are generated, but
 * every member is a row of its own with its own name. Sources: RFC 9110, RFC 9112, and the classes of request
 * smuggling known as CL.TE, TE.CL, TE.TE, CL.0, h2c and host confusion.
 */

export interface Refused {
  status: number;
}

export interface Forwarded {
  method?: string;
  target?: string;
  host?: string;
  /** -1: chunked. */
  length?: number;
  body?: string;
  /** "name: value" lines that must be among the fields. */
  fields?: string[];
  /** Lower-case names that must not be there. */
  without?: string[];
  trailers?: string[];
  upgrade?: string | null;
}

export interface RequestShape {
  name: string;
  raw: string;
  verdict: Refused | Forwarded;
}

const shapes: RequestShape[] = [];

function row(name: string, raw: string, verdict: Refused | Forwarded): void {
  shapes.push({ name, raw, verdict });
}

function refuse(status: number): Refused {
  return { status };
}

const HOST = "Host: a.example\r\n";
const GET = `GET / HTTP/1.1\r\n${HOST}`;
const POST = `POST /p HTTP/1.1\r\n${HOST}`;

// --- request lines

row("the plain request", `${GET}\r\n`, { method: "GET", target: "/", host: "a.example", length: 0 });
row("HTTP/1.0 without Host", "GET / HTTP/1.0\r\n\r\n", { host: "" });
row("HTTP/1.0 with Host", `GET / HTTP/1.0\r\n${HOST}\r\n`, { host: "a.example" });
for (const method of ["PUT", "DELETE", "PATCH", "OPTIONS", "HEAD", "PURGE", "PROPFIND", "M-SEARCH", "X_Y"]) {
  row(`method ${method}`, `${method} /m HTTP/1.1\r\n${HOST}\r\n`, { method });
}
for (const method of [
  "get",
  "Get",
  "GE T",
  "G\tT",
  "G(T",
  "G:T",
  "GÉT",
  "\0GET",
  "GET\0",
  "1GET",
  "{}",
  "A".repeat(33),
]) {
  row(`method ${JSON.stringify(method)}`, `${method} / HTTP/1.1\r\n${HOST}\r\n`, refuse(400));
}
row("CONNECT", "CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\n", refuse(405));
row("TRACE", `TRACE / HTTP/1.1\r\n${HOST}\r\n`, refuse(405));
for (const [name, line] of [
  ["two spaces before the target", "GET  / HTTP/1.1"],
  ["two spaces behind the target", "GET /  HTTP/1.1"],
  ["a space in the target", "GET /a b HTTP/1.1"],
  ["a tab instead of a space", "GET\t/\tHTTP/1.1"],
  ["a space before the method", " GET / HTTP/1.1"],
  ["a space behind the version", "GET / HTTP/1.1 "],
  ["no version", "GET /"],
  ["no version but a space", "GET / "],
  ["no target", "GET HTTP/1.1"],
  ["an empty target", "GET  HTTP/1.1"],
  ["HTTP/2.0", "GET / HTTP/2.0"],
  ["HTTP/1.1 in lower case", "GET / http/1.1"],
  ["HTTP/1", "GET / HTTP/1"],
  ["HTTP/1.10", "GET / HTTP/1.10"],
  ["HTTP/11.1", "GET / HTTP/11.1"],
  ["HTTP/01.1", "GET / HTTP/01.1"],
  ["HTTP 1.1", "GET / HTTP 1.1"],
  ["HTTP/1,1", "GET / HTTP/1,1"],
  ["HTTP/ 1.1", "GET / HTTP/ 1.1"],
  ["HTTPS/1.1", "GET / HTTPS/1.1"],
  ["HTTP/1.a", "GET / HTTP/1.a"],
  ["a NUL in the version", "GET / HTTP/1.1\0"],
] as const) {
  row(`request line with ${name}`, `${line}\r\n${HOST}\r\n`, refuse(400));
}
for (const version of ["0.9", "1.2", "1.9", "3.0", "0.0", "9.9"]) {
  row(`version ${version}`, `GET / HTTP/${version}\r\n${HOST}\r\n`, refuse(505));
}
// The whole preface begins HTTP/2, which has tests of its own.
row("half the preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nXM\r\n\r\n", refuse(505));
row("the preface of HTTP/2 behind a request", `${GET}\r\nPRI * HTTP/2.0\r\n\r\nSM\r\n\r\n`, { target: "/" });
row("a TLS client hello", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", refuse(400));
row("one empty line before the request", `\r\n${GET}\r\n`, { target: "/" });
row("two empty lines before the request", `\r\n\r\n${GET}\r\n`, refuse(400));
row("a bare LF before the request", `\n${GET}\r\n`, refuse(400));
row("a bare CR before the request", `\r${GET}\r\n`, refuse(400));

// --- targets

for (const target of [
  "/",
  "/a/b",
  "//",
  "//a.example/x",
  "/?",
  "/?a=b&c",
  "/a%2Fb",
  "/%00",
  "/../x",
  "/./x",
  "/a;b=c",
  "/a|b",
  '/"q"',
  "/{x}",
  "/<x>",
  "/^`",
  "/a:b@c",
  "/http://b.example/",
  "/*",
  "/%",
  "/%zz",
  "/~a",
]) {
  row(`target ${target}`, `GET ${target} HTTP/1.1\r\n${HOST}\r\n`, { target });
}
for (const target of [
  "/#f",
  "/a\\b",
  "\\",
  "a",
  "?x",
  "*",
  "*x",
  "a.example",
  "a.example:80",
  "/é",
  "/\x7f",
  "/\x01",
  "/\0",
  "ftp://a.example/",
  "http:/a.example/",
  "http:///x",
  "http://",
  "http://a b/",
  "http://u@a.example/",
  "http://u:p@a.example/",
  "http://a.example:x/",
  "http://a.example:/",
  "http://a.example:0/",
  "http://[::1/",
  "http://a.example#f",
  "http://a.example\\@b/",
  "javascript:alert(1)",
  "data:,x",
]) {
  row(`target ${JSON.stringify(target)}`, `GET ${target} HTTP/1.1\r\n${HOST}\r\n`, refuse(400));
}
row("target * with OPTIONS", `OPTIONS * HTTP/1.1\r\n${HOST}\r\n`, { target: "*", host: "a.example" });
row("absolute target that contradicts Host", "GET http://b.example/x HTTP/1.1\r\nHost: a.example\r\n\r\n", {
  target: "/x",
  host: "b.example",
  fields: ["Host: b.example"],
});
row(
  "absolute target with port, upper case and query",
  "GET HTTP://B.Example:81?q=1 HTTP/1.1\r\nHost: a.example\r\n\r\n",
  {
    target: "/?q=1",
    host: "b.example:81",
  },
);
row("absolute target without path", "GET http://b.example HTTP/1.1\r\nHost: b.example\r\n\r\n", {
  target: "/",
});
row("absolute target without path, OPTIONS", "OPTIONS http://b.example HTTP/1.1\r\nHost: b.example\r\n\r\n", {
  target: "*",
  host: "b.example",
});
row("absolute target of https", "GET https://b.example/s HTTP/1.1\r\nHost: b.example\r\n\r\n", {
  target: "/s",
});
row("absolute target without Host", "GET http://b.example/ HTTP/1.1\r\n\r\n", refuse(400));
row("absolute target on HTTP/1.0 without Host", "GET http://b.example/ HTTP/1.0\r\n\r\n", {
  host: "b.example",
  fields: ["Host: b.example"],
});
row("absolute target with two Hosts", `GET http://b.example/ HTTP/1.1\r\n${HOST}${HOST}\r\n`, refuse(400));
row("longest target", `GET /${"a".repeat(8191)} HTTP/1.1\r\n${HOST}\r\n`, { target: `/${"a".repeat(8191)}` });
row("target one byte too long", `GET /${"a".repeat(8192)} HTTP/1.1\r\n${HOST}\r\n`, refuse(414));
row("endless target", `GET /${"a".repeat(60_000)}`, refuse(414));

// --- Host

row("no Host", "GET / HTTP/1.1\r\n\r\n", refuse(400));
row("two Hosts that agree", `${GET}${HOST}\r\n`, refuse(400));
row("two Hosts that differ", `${GET}Host: b.example\r\n\r\n`, refuse(400));
row("two Hosts, the second in other case", `${GET}hOST: b.example\r\n\r\n`, refuse(400));
row("two Hosts on HTTP/1.0", `GET / HTTP/1.0\r\n${HOST}${HOST}\r\n`, refuse(400));
for (const host of [
  "",
  "a b",
  "a,b",
  "a.example, b.example",
  "a/b",
  "a?b",
  "a#b",
  "a\\b",
  "u@a",
  "a:x",
  "a:",
  ":80",
  "a:80:80",
  "a:65536",
  "a:0",
  "a:-1",
  "a:+80",
  "a: 80",
  "[::1",
  "::1",
  "[::1]x",
  "[::1%25eth0]",
  "[v1.x]",
  "[]",
  "a%41",
  "a%00",
  "é.example",
  "a\x01b",
  "a\x7f",
  "a\0b",
  "a<b",
  "(a)",
  "a'b",
  "a;b",
  "http://a",
  "a".repeat(256),
]) {
  row(`Host ${JSON.stringify(host)}`, `GET / HTTP/1.1\r\nHost: ${host}\r\n\r\n`, refuse(400));
}
for (const [sent, host] of [
  ["A.Example", "a.example"],
  ["a.example:8080", "a.example:8080"],
  ["a.example.", "a.example."],
  ["a_b.example", "a_b.example"],
  ["127.0.0.1", "127.0.0.1"],
  ["127.0.0.1:1", "127.0.0.1:1"],
  ["[::1]", "[::1]"],
  ["[2001:DB8::1]:443", "[2001:db8::1]:443"],
  ["xn--bcher-kva.example", "xn--bcher-kva.example"],
  ["localhost", "localhost"],
  ["\t a.example \t", "a.example"],
  ["a:65535", "a:65535"],
] as const) {
  row(`Host ${JSON.stringify(sent)}`, `GET / HTTP/1.1\r\nHost: ${sent}\r\n\r\n`, { host });
}

// --- field syntax

row("a field without value", `${GET}X:\r\n\r\n`, { fields: ["X: "] });
row("a value with blanks around it", `${GET}X: \t v w \t \r\n\r\n`, { fields: ["X: v w"] });
row("a value with obs-text", `${GET}X: \xe9\xff\r\n\r\n`, { fields: ["X: éÿ"] });
row("a value with a tab inside", `${GET}X: a\tb\r\n\r\n`, { fields: ["X: a\tb"] });
row("a repeated field keeps its order", `${GET}X: 1\r\nY: 2\r\nx: 3\r\n\r\n`, {
  fields: ["X: 1", "Y: 2", "x: 3"],
});
row("all token characters in a name", `${GET}!#$%&'*+-.^_\`|~09azAZ: 1\r\n\r\n`, {
  fields: ["!#$%&'*+-.^_`|~09azAZ: 1"],
});
row("a field named __proto__", `${GET}__proto__: 1\r\nconstructor: 2\r\n\r\n`, {
  fields: ["__proto__: 1", "constructor: 2"],
});
for (const [name, field] of [
  ["a space before the colon", "X : 1"],
  ["a tab before the colon", "X\t: 1"],
  ["no colon", "X"],
  ["no name", ": 1"],
  ["a space in the name", "X Y: 1"],
  ["a NUL in the name", "X\0: 1"],
  ["a slash in the name", "X/Y: 1"],
  ["a bracket in the name", "X[0]: 1"],
  ["a quote in the name", '"X": 1'],
  ["obs-text in the name", "X\xe9: 1"],
  ["a NUL in the value", "X: a\0b"],
  ["a control character in the value", "X: a\x01b"],
  ["a DEL in the value", "X: a\x7fb"],
  ["a backspace in the value", "X: a\x08"],
  ["a vertical tab in the value", "X: a\x0bb"],
  ["a form feed in the value", "X: a\x0cb"],
  ["a bare CR in the value", "X: a\rb"],
  ["a CR before the CRLF", "X: a\r"],
  ["a bare LF in the value", "X: a\nb"],
  ["a bare CR in the name", "X\rY: 1"],
  ["a bare LF in the name", "X\nY: 1"],
  ["folding by a space", "X: 1\r\n 2"],
  ["folding by a tab", "X: 1\r\n\t2"],
  ["folding into a colon", "X: 1\r\n Y: 2"],
  ["a NEL as line end", "X: 1\x85Y"],
] as const) {
  row(
    `field with ${name}`,
    `${GET}${field}\r\n\r\n`,
    name === "a NEL as line end" ? { length: 0 } : refuse(400),
  );
}
row("folding of the first field", `GET / HTTP/1.1\r\n ${HOST}\r\n`, refuse(400));
row("bare LF everywhere", "GET / HTTP/1.1\nHost: a.example\n\n", refuse(400));
row("bare LF behind the request line", `GET / HTTP/1.1\n${HOST}\r\n`, refuse(400));
row("bare LF behind a field", `GET / HTTP/1.1\r\nHost: a.example\n\r\n`, refuse(400));
row("bare LF as the empty line", `${GET}\n`, refuse(400));
row("bare CR as line end", "GET / HTTP/1.1\rHost: a.example\r\r\n\n", refuse(400));
row("LF CR", "GET / HTTP/1.1\n\rHost: a.example\n\r\n\r", refuse(400));
row("CR CR LF behind a field", `GET / HTTP/1.1\r\nHost: a.example\r\r\n\r\n`, refuse(400));
row("CR X at the empty line", `${GET}\rX\r\n\r\n`, refuse(400));
row("a hundred fields", `${GET}${"X: 1\r\n".repeat(99)}\r\n`, { length: 0 });
row("a hundred and one fields", `${GET}${"X: 1\r\n".repeat(100)}\r\n`, refuse(431));
row("one huge field", `${GET}X: ${"a".repeat(33_000)}\r\n\r\n`, refuse(431));
row("fields that never end", `${GET}${`X: ${"a".repeat(1000)}\r\n`.repeat(40)}`, refuse(431));
row("a name that never ends", `${GET}${"a".repeat(40_000)}`, refuse(431));

// --- framing

row("a body by length", `${POST}Content-Length: 5\r\n\r\nhello`, { length: 5, body: "hello" });
row("a body of no bytes", `${POST}Content-Length: 0\r\n\r\n`, { length: 0, body: "" });
row("leading zeros in the length", `${POST}Content-Length: 005\r\n\r\nhello`, { length: 5, body: "hello" });
for (const length of [
  "",
  "+5",
  "-5",
  "5 5",
  "5,5",
  "5, 5",
  "5;5",
  "0x5",
  "5.0",
  "5e0",
  "5_0",
  "٥",
  "\x0b5",
  "1".repeat(16),
  "18446744073709551621",
  "a",
  "5a",
  "Infinity",
  '"5"',
  "5\x00",
]) {
  row(
    `Content-Length ${JSON.stringify(length)}`,
    `${POST}Content-Length: ${Buffer.from(length, "utf8").toString("latin1")}\r\n\r\nhello`,
    refuse(400),
  );
}
row("a length with a tab", `${POST}Content-Length:\t5\r\n\r\nhello`, refuse(400));
row("two lengths that agree", `${POST}Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello`, refuse(400));
row("two lengths that differ", `${POST}Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello`, refuse(400));
row(
  "two lengths, one of them hidden by case",
  `${POST}Content-Length: 5\r\ncontent-LENGTH: 0\r\n\r\nhello`,
  refuse(400),
);
row("a length with a space before the colon", `${POST}Content-Length : 5\r\n\r\nhello`, refuse(400));
row("a chunked body", `${POST}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n`, {
  length: -1,
  body: "hello",
});
row("CHUNKED in upper case", `${POST}Transfer-Encoding: CHUNKED\r\n\r\n0\r\n\r\n`, { length: -1, body: "" });
row("chunked with blanks around it", `${POST}Transfer-Encoding:  chunked  \r\n\r\n0\r\n\r\n`, {
  length: -1,
});
row("CL.TE", `${POST}Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nG`, refuse(400));
row(
  "TE.CL",
  `${POST}Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n5c\r\nGPOST\r\n0\r\n\r\n`,
  refuse(400),
);
row(
  "length 0 and chunked",
  `${POST}Content-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
  refuse(400),
);
row(
  "chunked on HTTP/1.0",
  `POST / HTTP/1.0\r\n${HOST}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
  refuse(400),
);
for (const coding of [
  "",
  "identity",
  "gzip",
  "gzip, chunked",
  "chunked, gzip",
  "chunked, chunked",
  "chunked,",
  ",chunked",
  "deflate",
  "chunked, identity",
  "compress, chunked",
]) {
  row(
    `Transfer-Encoding ${JSON.stringify(coding)}`,
    `${POST}Transfer-Encoding: ${coding}\r\n\r\n0\r\n\r\n`,
    refuse(400),
  );
}
for (const coding of [
  "xchunked",
  "chunkedx",
  "chunked;q=1",
  '"chunked"',
  "chunk",
  "br",
  "cow",
  "chunked\xa0",
  "chun ked",
  "'chunked'",
  "chunked, cow",
]) {
  row(
    `Transfer-Encoding ${JSON.stringify(coding)}`,
    `${POST}Transfer-Encoding: ${coding}\r\n\r\n0\r\n\r\n`,
    refuse(501),
  );
}
for (const [name, fields] of [
  ["repeated", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"],
  ["repeated, the second identity", "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity"],
  ["repeated, the first identity", "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked"],
  ["with a space before the colon", "Transfer-Encoding : chunked"],
  ["with a tab before the colon", "Transfer-Encoding\t: chunked"],
  ["behind a folded line", "X: y\r\n Transfer-Encoding: chunked"],
  ["folded", "Transfer-Encoding:\r\n chunked"],
  ["behind a bare LF", "X: y\nTransfer-Encoding: chunked"],
  ["behind a bare CR", "X: y\rTransfer-Encoding: chunked"],
  ["with a vertical tab", "Transfer-Encoding: \x0bchunked"],
  ["with a NUL", "Transfer-Encoding: chunked\0"],
  ["with a control character in front", "\x01Transfer-Encoding: chunked"],
  ["with a tab in front", "Transfer-Encoding: \tchunked"],
  ["with a tab behind", "Transfer-Encoding: chunked\t"],
  ["with a DEL", "Transfer-Encoding: chunked\x7f"],
] as const) {
  row(`TE.TE: ${name}`, `${POST}${fields}\r\n\r\n0\r\n\r\n`, refuse(400));
}
row(
  "Transfer_Encoding is no framing and goes",
  `${POST}Content-Length: 5\r\nTransfer_Encoding: chunked\r\n\r\nhello`,
  {
    length: 5,
    body: "hello",
    without: ["transfer_encoding"],
  },
);
row("Content_Length is no framing and goes", `${POST}Content_Length: 5\r\n\r\n`, {
  length: 0,
  without: ["content_length"],
});
for (const method of ["GET", "HEAD", "DELETE", "OPTIONS"]) {
  row(`${method} with a body`, `${method} / HTTP/1.1\r\n${HOST}Content-Length: 3\r\n\r\nabc`, {
    method,
    length: 3,
    body: "abc",
  });
}
row("GET with a chunked body", `${GET}Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n`, {
  length: -1,
  body: "abc",
});

// --- chunks

function chunked(name: string, body: string, verdict: Refused | Forwarded): void {
  row(`chunks: ${name}`, `${POST}Transfer-Encoding: chunked\r\n\r\n${body}`, verdict);
}

chunked("several", "1\r\na\r\n2\r\nbc\r\n0\r\n\r\n", { body: "abc" });
chunked("sizes in hexadecimal, both cases", `a\r\n${"x".repeat(10)}\r\nA\r\n${"y".repeat(10)}\r\n0\r\n\r\n`, {
  body: "x".repeat(10) + "y".repeat(10),
});
chunked("leading zeros", "0005\r\nhello\r\n000\r\n\r\n", { body: "hello" });
chunked("an extension is dropped", "5;a=b\r\nhello\r\n0;c\r\n\r\n", { body: "hello" });
chunked("a quoted extension", '5;a="b;c"\r\nhello\r\n0\r\n\r\n', { body: "hello" });
chunked("data that looks like chunks", "5\r\n0\r\n\r\n\r\n0\r\n\r\n", { body: "0\r\n\r\n" });
chunked("trailers", "0\r\nX-Sum: 1\r\nY: 2\r\n\r\n", { trailers: ["X-Sum: 1", "Y: 2"] });
chunked(
  "forbidden trailers are dropped",
  "0\r\nHost: b\r\nX-Forwarded-For: 1\r\nAuthorization: x\r\nTE: trailers\r\nX: 1\r\n\r\n",
  {
    trailers: ["X: 1"],
  },
);
for (const [name, body] of [
  ["no size", "\r\nhello\r\n0\r\n\r\n"],
  ["a size that is no number", "g\r\nhello\r\n0\r\n\r\n"],
  ["a sign", "+5\r\nhello\r\n0\r\n\r\n"],
  ["a minus", "-5\r\nhello\r\n0\r\n\r\n"],
  ["0x", "0x5\r\nhello\r\n0\r\n\r\n"],
  ["a space before the size", " 5\r\nhello\r\n0\r\n\r\n"],
  ["a space behind the size", "5 \r\nhello\r\n0\r\n\r\n"],
  ["a tab behind the size", "5\t\r\nhello\r\n0\r\n\r\n"],
  ["a space before the extension", "5 ;a\r\nhello\r\n0\r\n\r\n"],
  ["a size that overflows", "10000000000000005\r\nhello\r\n0\r\n\r\n"],
  ["a size of too many zeros", "00000000000005\r\nhello\r\n0\r\n\r\n"],
  ["bare LF behind the size", "5\nhello\r\n0\r\n\r\n"],
  ["bare CR behind the size", "5\rhello\r\n0\r\n\r\n"],
  ["bare LF behind the data", "5\r\nhello\n0\r\n\r\n"],
  ["two LFs behind the data", "5\r\nhello\n\n0\r\n\r\n"],
  ["another byte for the CR behind the data", "5\r\nhelloX\n0\r\n\r\n"],
  ["another byte for the LF behind the data", "5\r\nhello\rX0\r\n\r\n"],
  ["bare LF in the extension", "5;a\nhello\r\n0\r\n\r\n"],
  ["bare CR in the extension", "5;a\rb\r\nhello\r\n0\r\n\r\n"],
  ["a NUL in the extension", "5;a\0\r\nhello\r\n0\r\n\r\n"],
  ["an extension that is too long", `5;${"a".repeat(300)}\r\nhello\r\n0\r\n\r\n`],
  ["an extension without name", "5;\r\nhello\r\n0\r\n\r\n"],
  ["an extension with a comma", "5;a,b\r\nhello\r\n0\r\n\r\n"],
  ["an extension with a blank", "5; a\r\nhello\r\n0\r\n\r\n"],
  ["an extension with an open quote", '5;a="b\r\nhello\r\n0\r\n\r\n'],
  ["an extension with no value", "5;a=\r\nhello\r\n0\r\n\r\n"],
  ["more data than announced", "5\r\nhelloX\r\n0\r\n\r\n"],
  ["less data than announced", "6\r\nhello\r\n0\r\n\r\n"],
  ["nothing behind the data", "5\r\nhello0\r\n\r\n"],
  ["a comma", "5,5\r\nhello\r\n0\r\n\r\n"],
  ["a dot", "5.0\r\nhello\r\n0\r\n\r\n"],
  ["an underscore", "1_0\r\nhello\r\n0\r\n\r\n"],
  ["a trailer without colon", "0\r\nX\r\n\r\n"],
  ["a trailer with bare LF", "0\r\nX: 1\n\r\n"],
  ["a folded trailer", "0\r\nX: 1\r\n 2\r\n\r\n"],
  ["a control character in a trailer", "0\r\nX: \x01\r\n\r\n"],
  ["a length in the trailers", "0\r\nContent-Length: 5\r\n\r\nhello"],
  ["a transfer coding in the trailers", "0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"],
  ["bare LF at the end", "0\r\n\n"],
  ["bare LFs all along", "5\nhello\n0\n\n"],
] as const) {
  chunked(name, body, refuse(400));
}
chunked("trailers that never end", `0\r\n${`X: ${"a".repeat(500)}\r\n`.repeat(20)}\r\n`, refuse(431));
chunked("too many trailers", `0\r\n${"X: 1\r\n".repeat(33)}\r\n`, refuse(431));
chunked("a flood of extensions", `${`1;${"a".repeat(200)}\r\nx\r\n`.repeat(100)}0\r\n\r\n`, refuse(400));

// --- underscores, upgrades, expectations

row("a name with _ beside its twin", `${GET}X-A: 1\r\nX_A: 2\r\n\r\n`, {
  fields: ["X-A: 1"],
  without: ["x_a"],
});
row("a name with _ and no twin", `${GET}X_B: 2\r\n\r\n`, { fields: ["X_B: 2"] });
for (const name of ["X_Forwarded_For", "X_Real_IP", "X_Consumer_Username", "Host_", "X-Forwarded_Proto"]) {
  row(
    `${name}, whose twin the gateway sets`,
    `${GET}${name}: 2\r\n\r\n`,
    name === "Host_" ? { fields: ["Host_: 2"] } : { without: [name.toLowerCase()] },
  );
}
row("WebSocket", `${GET}Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n`, { upgrade: "websocket" });
row("WebSocket among other tokens", `${GET}Connection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n\r\n`, {
  upgrade: "websocket",
});
row("Upgrade that Connection does not name", `${GET}Upgrade: websocket\r\n\r\n`, { upgrade: null });
row(
  "Upgrade: h2c",
  `${GET}Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAA\r\n\r\n`,
  {
    upgrade: null,
  },
);
row("Upgrade: h2c hidden behind websocket", `${GET}Connection: Upgrade\r\nUpgrade: websocket, h2c\r\n\r\n`, {
  upgrade: "websocket",
});
row("Upgrade: H2C in upper case", `${GET}Connection: upgrade\r\nUpgrade: H2C\r\n\r\n`, { upgrade: null });
row(
  "Upgrade with a body",
  `${POST}Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 2\r\n\r\nhi`,
  { upgrade: null },
);
row("Upgrade on HTTP/1.0", `GET / HTTP/1.0\r\n${HOST}Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n`, {
  upgrade: null,
});
row("an unknown expectation", `${GET}Expect: tea\r\n\r\n`, { fields: ["Expect: tea"] });
row("CL.0: what follows a body is a request of its own", `${POST}Content-Length: 0\r\n\r\n`, { length: 0 });

export const REQUEST_SHAPES: readonly RequestShape[] = shapes;
