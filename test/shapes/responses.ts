/**
 * Raw answers of upstreams and what becomes of each: read in exactly one way, or refused (a 502 to the client).
 */

export interface ResponseShape {
  name: string;
  raw: string;
  /** Method of the request; GET unless given. */
  method?: string;
  verdict: { error: string } | Read;
}

export interface Read {
  status: number;
  reason?: string;
  /** Undefined: the answer is not complete. */
  body?: string;
  /** Bytes behind the answer. */
  rest?: string;
  reusable: boolean;
  informational?: number[];
  trailers?: string[];
}

const shapes: ResponseShape[] = [];

function row(name: string, raw: string, verdict: { error: string } | Read, method?: string): void {
  shapes.push({ name, raw, verdict, ...(method === undefined ? {} : { method }) });
}

const OK = "HTTP/1.1 200 OK\r\n";

// --- status lines

row("the plain answer", `${OK}Content-Length: 2\r\n\r\nhi`, {
  status: 200,
  reason: "OK",
  body: "hi",
  rest: "",
  reusable: true,
});
row("no reason", "HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n", {
  status: 200,
  reason: "",
  body: "",
  reusable: true,
});
row("no reason and no space", "HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", {
  status: 200,
  reason: "",
  body: "",
  reusable: true,
});
row("a reason with obs-text", "HTTP/1.1 200 \xe9 x\r\nContent-Length: 0\r\n\r\n", {
  status: 200,
  reason: "é x",
  body: "",
  reusable: true,
});
row("a status without a name", "HTTP/1.1 799 Odd\r\nContent-Length: 0\r\n\r\n", {
  status: 799,
  body: "",
  reusable: true,
});
row("HTTP/1.0", "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi", {
  status: 200,
  body: "hi",
  reusable: false,
});
row("HTTP/1.0 with keep-alive", "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nhi", {
  status: 200,
  body: "hi",
  reusable: true,
});
for (const line of [
  "HTTP/2 200 OK",
  "HTTP/2.0 200 OK",
  "HTTP/1.2 200 OK",
  "HTTP/0.9 200 OK",
  "http/1.1 200 OK",
  "HTTP/1.1  200 OK",
  "HTTP/1.1 20 OK",
  "HTTP/1.1 2000 OK",
  "HTTP/1.1 099 OK",
  "HTTP/1.1 +20 OK",
  "HTTP/1.1 2x0 OK",
  "HTTP/1.1 OK",
  "HTTP/1.1",
  "HTTP/1.1 200\tOK",
  "HTTP/1.1 200 O\0K",
  "HTTP/1.1 200 O\x7fK",
  "HTTP/1.1 200 O\rK",
  "ICY 200 OK",
  " HTTP/1.1 200 OK",
  "",
  "<html>",
]) {
  row(`status line ${JSON.stringify(line)}`, `${line}\r\nContent-Length: 0\r\n\r\n`, {
    error: "status-line",
  });
}
row("status line ended by a bare LF", "HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n", { error: "status-line" });
row("a status line that never ends", `HTTP/1.1 200 ${"x".repeat(2000)}`, { error: "status-line" });

// --- fields

for (const [field, error] of [
  ["X : 1", "field-name"],
  ["X", "field-name"],
  [": 1", "field-name"],
  [" X: 1", "folding"],
  ["X: 1\r\n 2", "folding"],
  ["X: a\0", "field-value"],
  ["X: a\x01", "field-value"],
  ["X: a\rb", "line-end"],
  ["X: a\nb", "line-end"],
  ["X\xe9: a", "field-name"],
] as const) {
  row(`field ${JSON.stringify(field)}`, `${OK}${field}\r\nContent-Length: 0\r\n\r\n`, { error });
}
row("too many fields", `${OK}${"X: 1\r\n".repeat(101)}\r\n`, { error: "too-many-fields" });
row("a head that is too large", `${OK}X: ${"x".repeat(40_000)}\r\n\r\n`, { error: "head-too-large" });

// --- framing

row("two lengths that agree", `${OK}Content-Length: 2\r\nContent-Length: 2\r\n\r\nhi`, {
  error: "content-length-repeated",
});
row("two lengths that differ", `${OK}Content-Length: 2\r\nContent-Length: 3\r\n\r\nhi`, {
  error: "content-length-repeated",
});
for (const length of ["", "-1", "+2", "2, 2", "0x2", "2 ", "9".repeat(16), "two"]) {
  const isBlankOnly = length === "2 ";
  row(
    `Content-Length ${JSON.stringify(length)}`,
    `${OK}Content-Length: ${length}\r\n\r\nhi`,
    isBlankOnly ? { status: 200, body: "hi", reusable: true } : { error: "content-length" },
  );
}
row("both framings", `${OK}Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`, {
  error: "both-framings",
});
row("chunked on HTTP/1.0", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", {
  error: "transfer-encoding-version",
});
for (const coding of ["gzip", "gzip, chunked", "identity", "chunked, chunked", ""]) {
  row(`Transfer-Encoding ${JSON.stringify(coding)}`, `${OK}Transfer-Encoding: ${coding}\r\n\r\n`, {
    error: "transfer-encoding",
  });
}
row("an unknown transfer coding", `${OK}Transfer-Encoding: cow\r\n\r\n`, { error: "transfer-coding" });
row("chunks", `${OK}Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\nNEXT`, {
  status: 200,
  body: "hi",
  rest: "NEXT",
  reusable: true,
});
row("chunks with trailers", `${OK}Transfer-Encoding: chunked\r\n\r\n0\r\nX: 1\r\nSet-Cookie: a\r\n\r\n`, {
  status: 200,
  body: "",
  reusable: true,
  trailers: ["X: 1"],
});
row(
  "chunks with a length in the trailers",
  `${OK}Transfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 9\r\n\r\n`,
  {
    error: "trailer-framing",
  },
);
row("chunks that break off", `${OK}Transfer-Encoding: chunked\r\n\r\n5\r\nhi`, { error: "truncated" });
row("chunks without the last one", `${OK}Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n`, {
  error: "truncated",
});
row("a broken chunk size", `${OK}Transfer-Encoding: chunked\r\n\r\n2 \r\nhi\r\n0\r\n\r\n`, {
  error: "chunk-size",
});
row("a chunk longer than announced", `${OK}Transfer-Encoding: chunked\r\n\r\n1\r\nhi\r\n0\r\n\r\n`, {
  error: "chunk-end",
});
row("a chunk with another byte for its CR", `${OK}Transfer-Encoding: chunked\r\n\r\n2\r\nhiX\n0\r\n\r\n`, {
  error: "chunk-end",
});
row("a chunk with another byte for its LF", `${OK}Transfer-Encoding: chunked\r\n\r\n2\r\nhi\rX0\r\n\r\n`, {
  error: "chunk-end",
});
row("a body shorter than announced", `${OK}Content-Length: 5\r\n\r\nhi`, { error: "truncated" });
row("a body longer than announced", `${OK}Content-Length: 2\r\n\r\nhiHTTP/1.1 200 OK`, {
  status: 200,
  body: "hi",
  rest: "HTTP/1.1 200 OK",
  reusable: true,
});
row("no framing: until the connection ends", `${OK}\r\nall of it`, {
  status: 200,
  body: "all of it",
  reusable: false,
});
row("no framing and no body", `${OK}\r\n`, { status: 200, body: "", reusable: false });
row("no framing, keep-alive notwithstanding", `${OK}Connection: keep-alive\r\n\r\nx`, {
  status: 200,
  body: "x",
  reusable: false,
});
row("Connection: close", `${OK}Connection: close\r\nContent-Length: 0\r\n\r\n`, {
  status: 200,
  body: "",
  reusable: false,
});
row("Connection: close among others", `${OK}Connection: x, Close\r\nContent-Length: 0\r\n\r\n`, {
  status: 200,
  body: "",
  reusable: false,
});

// --- answers that have no body whatever they say

row(
  "HEAD with a length",
  `${OK}Content-Length: 5\r\n\r\n`,
  { status: 200, body: "", rest: "", reusable: true },
  "HEAD",
);
row(
  "HEAD with chunked",
  `${OK}Transfer-Encoding: chunked\r\n\r\n`,
  { status: 200, body: "", rest: "", reusable: true },
  "HEAD",
);
row(
  "HEAD with a body all the same",
  `${OK}Content-Length: 2\r\n\r\nhi`,
  { status: 200, body: "", rest: "hi", reusable: true },
  "HEAD",
);
row("204", "HTTP/1.1 204 No Content\r\n\r\n", { status: 204, body: "", rest: "", reusable: true });
row("204 with a length", "HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\nhi", {
  status: 204,
  body: "",
  rest: "hi",
  reusable: false,
});
row("204 with chunks", "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", {
  status: 204,
  body: "",
  rest: "0\r\n\r\n",
  reusable: false,
});
row("304 with a length", "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", {
  status: 304,
  body: "",
  rest: "",
  reusable: true,
});
row(
  "304 with both framings",
  "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
  { error: "both-framings" },
);

// --- informational answers

row("100 before the answer", `HTTP/1.1 100 Continue\r\n\r\n${OK}Content-Length: 2\r\n\r\nhi`, {
  status: 200,
  body: "hi",
  reusable: true,
  informational: [100],
});
row(
  "103, 103, 200",
  `${"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n".repeat(2)}${OK}Content-Length: 0\r\n\r\n`,
  {
    status: 200,
    body: "",
    reusable: true,
    informational: [103, 103],
  },
);
row(
  "sixteen informational answers",
  `${"HTTP/1.1 102 Processing\r\n\r\n".repeat(16)}${OK}Content-Length: 0\r\n\r\n`,
  {
    status: 200,
    body: "",
    reusable: true,
  },
);
row("a flood of informational answers", "HTTP/1.1 102 Processing\r\n\r\n".repeat(17), {
  error: "too-many-informational",
});
row("101", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n\x81\x00", {
  status: 101,
  body: "",
  rest: "\x81\x00",
  reusable: true,
});
row("an empty line before the status line", `\r\n${OK}Content-Length: 0\r\n\r\n`, { error: "status-line" });

export const RESPONSE_SHAPES: readonly ResponseShape[] = shapes;
