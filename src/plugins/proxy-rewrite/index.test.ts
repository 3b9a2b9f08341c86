import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { definePlugin, Type } from "../../plugin/index.ts";
import { testGateway, type ForwardedRequest, type TestRequest } from "../../testing/index.ts";
import proxyRewrite from "./index.ts";

async function forward(
  config: object,
  request: TestRequest = {},
  upstream: object = { nodes: { "a:80": 1 } },
): Promise<ForwardedRequest> {
  let got: ForwardedRequest | undefined;
  const gateway = testGateway({
    routes: [{ uri: "/*", plugins: { "proxy-rewrite": config }, upstream }],
    upstream: (forwarded) => {
      got = forwarded;
      return {};
    },
  });
  const answer = await gateway.request(request);
  assert.equal(answer.status, 200);
  return got!;
}

const CRLF = "/hello%3f0z=700%26a=c%20HTTP/1.1%0D%0AHost:google.com%0d%0a%0d%0a";

for (const { config, target, expected } of [
  // uri
  { config: { uri: "/new" }, target: "/hello", expected: "/new" },
  { config: { uri: "/new" }, target: "/hello?q=1&a=b%20c", expected: "/new?q=1&a=b%20c" },
  { config: { uri: "/new?x=1" }, target: "/hello?q=1", expected: "/new?x=1&q=1" },
  { config: { uri: "/new?x=1" }, target: "/hello", expected: "/new?x=1" },
  { config: { uri: "/$arg_new_uri" }, target: "/t?new_uri=hello", expected: "/hello?new_uri=hello" },
  { config: { uri: "/a${arg_x ?? none}b" }, target: "/t", expected: "/anoneb" },
  { config: { uri: "/new path/中" }, target: "/t", expected: "/new%20path/%E4%B8%AD" },
  {
    config: { uri: "/$uri/remain" },
    target: CRLF,
    expected: "//hello%253F0z=700&a=c%20HTTP/1.1%0D%0AHost:google.com%0D%0A%0D%0A/remain",
  },
  { config: { uri: "/new?from=$uri" }, target: "/a%20b", expected: "/new?from=/a%20b" },
  // regex_uri
  { config: { regex_uri: ["^/test/(.*)/(.*)", "/$1_$2"] }, target: "/test/a/b?c=d", expected: "/a_b?c=d" },
  { config: { regex_uri: ["^/test/(.*)", "/${1}1"] }, target: "/test/a", expected: "/a1" },
  { config: { regex_uri: ["^/test/(.*)", "/$1?a=c"] }, target: "/test/a?q=1", expected: "/a?a=c&q=1" },
  { config: { regex_uri: ["^/test/(.*)", "/$1"] }, target: "/other", expected: "/other" },
  { config: { regex_uri: ["b+", "c"] }, target: "/abba/bb", expected: "/aca/bb" },
  { config: { regex_uri: ["^/a/", "/1/", "^/b/", "/2/"] }, target: "/b/x", expected: "/2/x" },
  { config: { regex_uri: ["^/a", "/1", "^/", "/2"] }, target: "/a", expected: "/1" },
  { config: { uri: "/won", regex_uri: ["^/a", "/1"] }, target: "/a", expected: "/won" },
  { config: { regex_uri: ["^/(.*)", "$1"] }, target: "/", expected: "/" },
  { config: { regex_uri: ["^/(.*)", "$1"] }, target: "/x", expected: "/x" },
  { config: { regex_uri: ["^/test(.*)", "/$1"] }, target: "/test%3Fa=1", expected: "/%3Fa=1" },
  {
    config: { regex_uri: ["^(/reflect.*)", "/print?orig=$1"] },
    target: "/reflect%0d%0aX-Injected:pwn",
    expected: "/print?orig=/reflect%0D%0AX-Injected:pwn",
  },
  // neither
  {
    config: { host: "a.com" },
    target: CRLF,
    expected: "/hello%3F0z=700&a=c%20HTTP/1.1%0D%0AHost:google.com%0D%0A%0D%0A",
  },
  { config: { host: "a.com" }, target: "/print%5Furi", expected: "/print_uri" },
  // use_real_request_uri_unsafe
  { config: { use_real_request_uri_unsafe: true }, target: "/print%5Furi?a=1", expected: "/print%5Furi?a=1" },
  { config: { use_real_request_uri_unsafe: true }, target: "/a/../b//c", expected: "/a/../b//c" },
  {
    config: { use_real_request_uri_unsafe: true, uri: "/new?x=1" },
    target: "/hello?a=1?b=2&c=%E4",
    expected: "/new?x=1&a=1?b=2&c=%E4",
  },
  {
    config: { use_real_request_uri_unsafe: true, regex_uri: ["/hello/(.+)", "/hello?v=$1"] },
    target: "/hello/%ED%85%8C",
    expected: "/hello?v=%ED%85%8C",
  },
  {
    config: { use_real_request_uri_unsafe: true, uri: "/x$uri" },
    target: "/a%0d%0ab",
    expected: "/x/a%0D%0Ab",
  },
]) {
  test(`${JSON.stringify(config)} sends ${target} as ${expected}`, async () => {
    assert.equal((await forward(config, { target })).target, expected);
  });
}

test("the method is replaced, and the client gets the answer to it", async () => {
  assert.equal((await forward({ method: "POST" })).method, "POST");
  const gateway = testGateway({
    routes: [
      { uri: "/*", plugins: { "proxy-rewrite": { method: "HEAD" } }, upstream: { nodes: { "a:80": 1 } } },
    ],
  });
  const answer = await gateway.request();
  assert.equal(answer.status, 200);
  assert.equal(answer.text, "");
});

test("the host is replaced where the upstream would get the client's", async () => {
  const rewritten = await forward({ host: "test.com:6443" }, { host: "foo.com" });
  assert.equal(rewritten.headers.get("host"), "test.com:6443");
  assert.equal(rewritten.headers.get("x-forwarded-host"), "foo.com");
  const node = await forward({ host: "test.com" }, {}, { nodes: { "a:80": 1 }, pass_host: "node" });
  assert.equal(node.headers.get("host"), "a:80");
});

for (const { name, config, request, expected } of [
  {
    name: "a plain map sets",
    config: { headers: { "X-Api": "v2", "X-N": 10080 } },
    request: { headers: { "X-Api": "v1" } },
    expected: { "x-api": "v2", "x-n": "10080" },
  },
  {
    name: "an empty value removes",
    config: { headers: { "X-Api": "" } },
    request: { headers: { "X-Api": "v1" } },
    expected: { "x-api": undefined },
  },
  {
    name: "add keeps what is there",
    config: { headers: { add: { Test: "123" } } },
    request: { headers: { test: "a", Test: "b" } },
    expected: { test: "a, b, 123" },
  },
  {
    name: "set counts more than add",
    config: { headers: { add: { test: "added" }, set: { test: "set" } } },
    request: {},
    expected: { test: "set" },
  },
  {
    name: "remove counts more than set",
    config: { headers: { set: { test: "set" }, remove: ["Test"] } },
    request: { headers: { test: "a" } },
    expected: { test: undefined },
  },
  {
    name: "several values are several fields",
    config: { headers: { set: { a: ["1", 2] }, add: { b: ["3", "4"] } } },
    request: { headers: { a: "0", b: "0" } },
    expected: { a: "1, 2", b: "0, 3, 4" },
  },
  {
    name: "variables and groups of the pattern have their values",
    config: {
      regex_uri: ["^/test/(.*)/(x)?(.*)", "/"],
      headers: { set: { a: "$1-$2-${3}4-$arg_q-$uri", b: ["cap-$1", "$http_x_src"] }, add: { c: "$0" } },
    },
    request: { target: "/test/a/b?q=1", headers: { "X-Src": "src" } },
    expected: { a: "a--b4-1-/test/a/b", b: "cap-a, src", c: "/test/a/b" },
  },
  {
    name: "groups of a pattern that did not match are empty",
    config: { regex_uri: ["^/test/(.*)", "/"], headers: { add: { a: "$1/$2" }, set: { b: "$1" } } },
    request: { target: "/other" },
    expected: { a: "/", b: undefined },
  },
  {
    name: "a value is not read as a template again",
    config: { headers: { a: "$arg_q" } },
    request: { target: "/?q=$remote_addr" },
    expected: { a: "$remote_addr" },
  },
  {
    name: "a value may be made from the field that it replaces",
    config: { headers: { set: { a: "$http_a!", b: ["$http_b", "new"] } } },
    request: { headers: { a: "1", b: "2" } },
    expected: { a: "1!", b: "2, new" },
  },
  {
    name: "line breaks and other characters of a decoded path do no harm",
    config: { headers: { a: "$uri", b: "é中" } },
    request: { target: "/%0d%0aX-Evil:%201/%e4%b8%ad" },
    expected: {
      a: `/%0D%0AX-Evil: 1/${Buffer.from("中").toString("latin1")}`,
      b: Buffer.from("é中").toString("latin1"),
    },
  },
  {
    name: "the gateway's own word on forwarding can be replaced, and left out",
    config: {
      headers: {
        set: { "X-Forwarded-Proto": "https", "X-Forwarded-For": "22.22.22.22" },
        remove: ["X-Forwarded-Host"],
      },
    },
    request: { headers: { "X-Forwarded-For": "11.11.11.11" } },
    expected: {
      "x-forwarded-proto": "https",
      "x-forwarded-for": "22.22.22.22, 127.0.0.1",
      "x-forwarded-host": undefined,
    },
  },
]) {
  test(`headers: ${name}`, async () => {
    const { headers } = await forward(config, request);
    const got = Object.fromEntries(Object.keys(expected).map((field) => [field, headers.joined(field)]));
    assert.deepEqual(got, expected);
  });
}

test("credentials that another plugin hid do not come back with the unsafe target", async () => {
  let target = "";
  const gateway = testGateway({
    consumers: [{ username: "jack", plugins: { "key-auth": { key: "secret" } } }],
    routes: [
      {
        uri: "/*",
        plugins: {
          "key-auth": { hide_credentials: true },
          "proxy-rewrite": { use_real_request_uri_unsafe: true },
        },
        upstream: { nodes: { "a:80": 1 } },
      },
    ],
    upstream: (request) => {
      target = request.target;
      return {};
    },
  });
  await gateway.request({ target: "/x%5Fy?a=1&apikey=secret" });
  assert.equal(target, "/x%5Fy?a=1");
});

test("variables keep showing the client's request", async () => {
  let seen: (string | undefined)[] = [];
  const look = definePlugin({
    name: "look",
    version: "1",
    priority: 1,
    config: Type.Object({}),
    compile: () => ({
      log(ctx) {
        seen = ["uri", "request_uri", "args", "upstream_uri", "upstream_host"].map((name) =>
          ctx.variable(name),
        );
      },
    }),
  });
  const gateway = testGateway({
    plugins: [look],
    routes: [
      {
        uri: "/*",
        plugins: { look: {}, "proxy-rewrite": { uri: "/new?x=1", host: "up.com" } },
        upstream: { nodes: { "a:80": 1 } },
      },
    ],
  });
  await gateway.request({ target: "/old?a=1" });
  assert.deepEqual(seen, ["/old", "/old?a=1", "a=1", "/new?x=1&a=1", "up.com"]);
});

test("whatever a path holds, what goes upstream is one target without blanks or controls", async () => {
  let target: string | undefined;
  const gateways = [
    { uri: "/x$uri?y=$uri" },
    { regex_uri: ["^/(.*)$", "$1?$1"] },
    { use_real_request_uri_unsafe: true },
    { uri: "/x$uri?y=$uri", use_real_request_uri_unsafe: true },
  ].map((config) =>
    testGateway({
      routes: [{ uri: "/*", plugins: { "proxy-rewrite": config }, upstream: { nodes: { "a:80": 1 } } }],
      upstream: (request) => {
        target = request.target;
        return {};
      },
    }),
  );
  await fc.assert(
    fc.asyncProperty(
      fc.uint8Array({ maxLength: 12 }),
      fc.constantFrom(...gateways),
      async (bytes, gateway) => {
        const path = Array.from(bytes, (byte) => `%${byte.toString(16).padStart(2, "0")}`).join("");
        target = undefined;
        const answer = await gateway.request({ target: `/${path}` });
        if (answer.status === 400) assert.equal(target, undefined);
        else assert.match(target!, /^\/[\x21-\x7e]*$/);
      },
    ),
    { numRuns: 500 },
  );
});

for (const { config, reason } of [
  { config: { regex_uri: ["^/a"] }, reason: /^The length of regex_uri should be an even number$/ },
  { config: { regex_uri: ["^/a", "/", "b"] }, reason: /^The length of regex_uri should be an even number$/ },
  { config: { regex_uri: ["[^/a", "/$1"] }, reason: /^invalid regex_uri\(\[\^\/a, \/\$1\): / },
  {
    config: { regex_uri: ["^/a", "/$`1"] },
    reason: /^invalid regex_uri\(\^\/a, \/\$`1\): invalid capturing variable name found$/,
  },
  { config: { headers: { "X-Api:Version": "v2" } }, reason: /^invalid field character in header$/ },
  { config: { headers: { "": "v2" } }, reason: /^invalid field length in header$/ },
  { config: { headers: { a: "v2\r\n" } }, reason: /^invalid value character in header$/ },
  { config: { headers: { set: { a: ["ok", "v2\n"] } } }, reason: /^invalid value character in header$/ },
]) {
  test(`${JSON.stringify(config)} is refused at write`, () => {
    assert.match(proxyRewrite.check!({ use_real_request_uri_unsafe: false, ...config })!, reason);
  });
}

test("what is well formed is not refused", () => {
  const config = {
    use_real_request_uri_unsafe: false,
    regex_uri: ["^/(a)", "/$1${1}$$x"],
    headers: { add: { a: ["$1", 2] }, remove: ["b"] },
  };
  assert.equal(proxyRewrite.check!(config), null);
});
