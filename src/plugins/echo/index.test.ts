import assert from "node:assert/strict";
import { test } from "node:test";
import { testGateway } from "../../testing/index.ts";
import echo from "./index.ts";

function gatewayWith(config: object, headers: Record<string, string> = {}) {
  return testGateway({
    routes: [{ uri: "/*", plugins: { echo: config }, upstream: { nodes: { "a:80": 1 } } }],
    upstream: () => ({ headers, body: "hello world\n" }),
  });
}

for (const { config, text } of [
  { config: { before_body: "before ", body: "hello", after_body: " after" }, text: "before hello after" },
  { config: { before_body: "before " }, text: "before hello world\n" },
  { config: { after_body: " after" }, text: "hello world\n after" },
  { config: { before_body: "<", after_body: ">" }, text: "<hello world\n>" },
  { config: { body: "" }, text: "" },
]) {
  test(`${JSON.stringify(config)} makes ${JSON.stringify(text)}`, async () => {
    assert.equal((await gatewayWith(config).request()).text, text);
  });
}

test("text goes before the first chunk and after the last one only", () => {
  const handlers = echo.compile({ before_body: "<", after_body: ">" }, undefined!);
  const ctx = {} as never;
  const chunks = ["a", "b", ""].map((text, i) => handlers.responseBody!(ctx, Buffer.from(text), i === 2));
  assert.deepEqual(chunks.map(String), ["<a", "b", ">"]);
});

test("a body in the place of the answer's comes once", () => {
  const handlers = echo.compile({ body: "new" }, undefined!);
  const ctx = {} as never;
  const chunks = ["a", "b", ""].map((text, i) => handlers.responseBody!(ctx, Buffer.from(text), i === 2));
  assert.deepEqual(chunks.map(String), ["new", "", ""]);
});

test("fields are set, empty ones removed, and facts of the old body go", async () => {
  const config = { body: "x", headers: { Location: "https://a.example", "X-Count": 3, "X-Old": "" } };
  const { headers } = await gatewayWith(config, {
    ETag: '"1"',
    "Content-Encoding": "gzip",
    "X-Old": "1",
  }).request();
  assert.equal(headers.get("location"), "https://a.example");
  assert.equal(headers.get("x-count"), "3");
  for (const name of ["etag", "content-encoding", "x-old"]) assert.equal(headers.get(name), undefined);
});

test("fields that cannot be sent are refused at write", () => {
  assert.equal(echo.check!({ body: "x", headers: { a: "b" } }), null);
  assert.equal(echo.check!({ body: "x", headers: { "": "b" } }), "invalid field length in header");
  assert.equal(echo.check!({ body: "x", headers: { a: {} as never } }), "invalid type as header value");
  assert.match(echo.check!({ body: "x", headers: { "a b": "c" } })!, /"a b"/);
});
