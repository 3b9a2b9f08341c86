import assert from "node:assert/strict";
import { test } from "node:test";
import { brotliCompressSync, deflateSync, gzipSync, zstdCompressSync } from "node:zlib";
import type { PluginLog } from "../../plugin/index.ts";
import { testGateway, type UpstreamAnswer } from "../../testing/index.ts";
import responseRewrite from "./index.ts";
import type { Config } from "./config.ts";

function gatewayWith(config: object, answer: UpstreamAnswer = { body: "hello world\n" }, log?: PluginLog) {
  return testGateway({
    routes: [{ uri: "/*", plugins: { "response-rewrite": config }, upstream: { nodes: { "a:80": 1 } } }],
    upstream: () => answer,
    ...(log === undefined ? {} : { log }),
  });
}

const filter = (regex: string, replace: string, more: object = {}) => ({
  filters: [{ regex, replace, ...more }],
});

for (const { config, text } of [
  { config: { body: "new" }, text: "new" },
  { config: { body: "" }, text: "" },
  { config: { body: "SGVsbG8K", body_base64: true }, text: "Hello\n" },
  { config: filter("hello", "test"), text: "test world\n" },
  { config: filter("l", "t"), text: "hetlo world\n" },
  { config: filter("l", "t", { scope: "global" }), text: "hetto wortd\n" },
  { config: filter("HELLO", "x"), text: "hello world\n" },
  { config: filter("HELLO", "x", { options: "i" }), text: "x world\n" },
  { config: filter("(\\w+) (\\w+)", "$2 ${1}!"), text: "world hello!\n" },
  { config: filter("absent", "x"), text: "hello world\n" },
  {
    config: {
      filters: [
        { regex: "hello", replace: "HELLO" },
        { regex: "L", replace: "T" },
      ],
    },
    text: "HETLO world\n",
  },
  { config: { ...filter("hello", "HELLO"), max_resp_body_size: 5 }, text: "HELLO" },
  { config: { body: "x", vars: [["status", "==", 500]] }, text: "hello world\n" },
  { config: { body: "x", vars: [["status", "==", 200]] }, text: "x" },
]) {
  test(`${JSON.stringify(config)} makes ${JSON.stringify(text)}`, async () => {
    assert.equal((await gatewayWith(config).request()).text, text);
  });
}

test("the status is changed, of the gateway's own answers too", async () => {
  assert.equal((await gatewayWith({ status_code: 302 }).request()).status, 302);
  const routes = [{ uri: "/*", plugins: { "response-rewrite": { status_code: 598, body: "x" } } }];
  const answer = await testGateway({ routes }).request();
  assert.equal(answer.status, 598);
  assert.equal(answer.text, "x");
});

test("a status that has no body drops it", async () => {
  const answer = await gatewayWith({ status_code: 204 }).request();
  assert.equal(answer.status, 204);
  assert.equal(answer.text, "");
});

test("a map of fields sets them; an empty text removes", async () => {
  const config = { headers: { "X-Id": 3, "X-From": "$remote_addr to $balancer_ip", "Content-Type": "" } };
  const { headers } = await gatewayWith(config, {
    headers: { "Content-Type": "text/html", "X-Id": "1" },
  }).request();
  assert.equal(headers.joined("x-id"), "3");
  assert.equal(headers.get("x-from"), "127.0.0.1 to a");
  assert.equal(headers.get("content-type"), undefined);
});

test("fields are added, then set, then removed", async () => {
  const config = {
    headers: {
      add: ["Cache-Control: no-cache", "Cache-Control : max-age=0, must-revalidate", "X-A:a"],
      set: { "X-B": "$remote_addr" },
      remove: ["Set-Cookie", "X-A"],
    },
  };
  const { headers } = await gatewayWith(config, {
    headers: { "Cache-Control": "private", "Set-Cookie": "a=b", "X-B": "1" },
  }).request();
  assert.deepEqual(headers.getAll("cache-control"), ["private", "no-cache", "max-age=0, must-revalidate"]);
  assert.equal(headers.joined("x-b"), "127.0.0.1");
  assert.equal(headers.has("set-cookie"), false);
  assert.equal(headers.has("x-a"), false);
});

test("no variable can add a field", async () => {
  const config = { headers: { "X-Path": "$uri" } };
  const { headers } = await gatewayWith(config).request({ target: "/a%0d%0aSet-Cookie:%20b/%E6%97%A5" });
  assert.equal(headers.get("x-path"), "/a%0D%0ASet-Cookie: b/\xe6\x97\xa5");
});

test("a changed body loses coding, validators and length; other changes keep them", async () => {
  const answer = {
    body: gzipSync("hello"),
    headers: { "Content-Encoding": "gzip", ETag: '"1"', "Last-Modified": "Wed, 21 Oct 2015 07:28:00 GMT" },
  };
  const names = ["content-encoding", "etag", "last-modified", "content-length"];
  const changed = await gatewayWith({ body: "new" }, answer).request();
  assert.deepEqual(
    names.filter((name) => changed.headers.has(name)),
    [],
  );
  const kept = await gatewayWith({ headers: { "X-Id": 3 } }, answer).request();
  assert.deepEqual(
    names.filter((name) => !kept.headers.has(name)),
    [],
  );
  assert.deepEqual(kept.body, answer.body);
  const unmatched = await gatewayWith({ body: "new", vars: [["status", "==", 500]] }, answer).request();
  assert.equal(unmatched.headers.get("content-encoding"), "gzip");
  assert.deepEqual(unmatched.body, answer.body);
});

test("an answer to HEAD does not declare the length of another body", async () => {
  const answer = await gatewayWith({ body: "a longer one" }).request({ method: "HEAD" });
  assert.equal(answer.headers.get("content-length"), undefined);
});

for (const [coding, compress] of [
  ["gzip", gzipSync],
  ["x-gzip", gzipSync],
  ["deflate", deflateSync],
  ["br", brotliCompressSync],
  ["zstd", zstdCompressSync],
] as const) {
  test(`filters see through ${coding}`, async () => {
    const answer = { body: compress("hello world"), headers: { "Content-Encoding": coding } };
    const filtered = await gatewayWith(filter("hello", "test"), answer).request();
    assert.equal(filtered.text, "test world");
    assert.equal(filtered.headers.get("content-encoding"), undefined);
  });
}

test("a coded body that was cut off is filtered as far as it goes", async () => {
  const whole = gzipSync(Buffer.alloc(100_000, "hello world "));
  const config = { ...filter("hello", "test"), max_resp_body_size: whole.length - 20 };
  const answer = { body: whole, headers: { "Content-Encoding": "gzip" } };
  // Decoded, it would be longer than the limit: it goes on as it came, as far as it was kept.
  const { body } = await gatewayWith(config, answer).request();
  assert.deepEqual(body, whole.subarray(0, whole.length - 20));
});

test("an unknown coding is left alone, a false one goes on as it came; the log says so", async () => {
  const errors: string[] = [];
  const log: PluginLog = { debug() {}, info() {}, warn() {}, error: (message) => void errors.push(message) };
  const unknown = { body: "hello", headers: { "Content-Encoding": "compress" } };
  const kept = await gatewayWith(filter("hello", "test"), unknown, log).request();
  assert.equal(kept.text, "hello");
  assert.equal(kept.headers.get("content-encoding"), "compress");
  const wrong = { body: "hello", headers: { "Content-Encoding": "gzip" } };
  assert.equal((await gatewayWith(filter("hello", "test"), wrong, log).request()).text, "hello");
  assert.equal(errors.length, 2);
});

test("bytes that no filter touches come out as they went in", async () => {
  const body = Buffer.from([0xff, 0x61, 0x00, 0xc3, 0x28]);
  const answer = await gatewayWith(filter("a", "é"), { body }).request();
  assert.deepEqual(answer.body, Buffer.from([0xff, 0xc3, 0xa9, 0x00, 0xc3, 0x28]));
  const text = await gatewayWith(filter("[éà]", "e", { scope: "global" }), { body: "été à 日" }).request();
  assert.equal(text.text, "ete e 日");
});

test("a body too long for a pattern goes on as it is", async () => {
  const body = Buffer.alloc((1 << 20) + 1, "a");
  const answer = await gatewayWith(filter("a", "b"), { body }).request();
  assert.deepEqual(answer.body, body);
});

test("a body in chunks is filtered as one", () => {
  const config = { ...filter("ab", "x"), max_resp_body_size: 100, body_base64: false } as Config;
  config.filters![0].scope = "global";
  config.filters![0].options = "jo";
  const handlers = responseRewrite.compile(config, { log: undefined } as never);
  const ctx = { response: { headers: { joined: () => undefined, delete: () => false } } } as never;
  void handlers.responseHeaders!(ctx);
  const chunks = ["-a", "b-a", ""].map((text, i) =>
    handlers.responseBody!(ctx, Buffer.from(text), i === 2).toString(),
  );
  assert.deepEqual(chunks, ["", "", "-x-a"]);
});

const valid: Config = { body_base64: false, max_resp_body_size: 1 };
for (const { config, text } of [
  { config: { body_base64: true }, text: "invalid base64 content" },
  { config: { body_base64: true, body: "" }, text: "invalid base64 content" },
  { config: { body_base64: true, body: "1" }, text: "invalid base64 content" },
  { config: { body_base64: true, body: "SGVsbG8K" }, text: null },
  { config: { headers: { "": 2 } }, text: "invalid field length in header" },
  { config: { headers: { "X-Name": {} } }, text: "invalid type as header value" },
  { config: { headers: { "X Name": "a" } }, text: 'invalid header name "X Name", expected a token' },
  { config: { headers: { remove: ["X Name"] } }, text: 'invalid header name "X Name", expected a token' },
  {
    config: { headers: { add: ["X Name:a"] } },
    text: 'invalid header "X Name:a" in add, expected "Name: value"',
  },
  { config: { vars: [[]] }, text: "failed to validate the 'vars' expression: rule too short" },
  { config: { vars: [["status", "==", 200]] }, text: null },
]) {
  test(`at write, ${JSON.stringify(config)} gets ${text ?? "in"}`, () => {
    assert.equal(responseRewrite.check!({ ...valid, ...config } as Config), text);
  });
}

test("a filter's pattern that cannot be used is refused at write", () => {
  const filters = [{ regex: "hello(", replace: "", scope: "once" as const, options: "jo" }];
  assert.match(responseRewrite.check!({ ...valid, filters })!, /^regex "hello\(" validation failed: /);
});
