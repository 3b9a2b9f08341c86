import assert from "node:assert/strict";
import { test } from "node:test";
import { testGateway, type TestRequest } from "../../../testing/index.ts";
import { readPath } from "./json-path.ts";

const upstream = { nodes: { "a:80": 1 } };

function post(contentType: string, body: string): TestRequest {
  return { method: "POST", headers: { "Content-Type": contentType }, body };
}

const FORM = "application/x-www-form-urlencoded";
const JSON_TYPE = "application/json; charset=utf-8";
const MULTIPART = 'multipart/form-data; boundary="xx"';

function multipart(fields: Record<string, string>): string {
  const parts = Object.entries(fields).map(
    ([name, value]) => `--xx\r\nContent-Disposition: form-data; name="${name}"\r\n\r\n${value}\r\n`,
  );
  return `${parts.join("")}--xx--\r\n`;
}

for (const { name, vars, request, matches } of [
  {
    name: "a form field",
    vars: [["post_arg_a", "==", "x y"]],
    request: post(FORM, "b=1&a=x+y&a=2"),
    matches: true,
  },
  {
    name: "a form field that differs",
    vars: [["post_arg_a", "==", "1"]],
    request: post(FORM, "a=2"),
    matches: false,
  },
  {
    name: "post_arg_ of JSON",
    vars: [["post_arg_a", "==", "1"]],
    request: post(JSON_TYPE, '{"a":"1"}'),
    matches: false,
  },
  {
    name: "a form field by path",
    vars: [["post_arg.a", "==", "1"]],
    request: post(FORM, "a=1"),
    matches: true,
  },
  {
    name: "a nested value",
    vars: [["post_arg.a.b", "==", "1"]],
    request: post(JSON_TYPE, '{"a":{"b":"1"}}'),
    matches: true,
  },
  { name: "a number", vars: [["post_arg.a", ">", 3]], request: post(JSON_TYPE, '{"a":4}'), matches: true },
  {
    name: "any element",
    vars: [["post_arg.models[*].name", "has", "b"]],
    request: post(JSON_TYPE, '{"models":[{"name":"a"},{"name":"b"}]}'),
    matches: true,
  },
  {
    name: "an element",
    vars: [["post_arg.m[1]", "==", "b"]],
    request: post(JSON_TYPE, '{"m":["a","b"]}'),
    matches: true,
  },
  {
    name: "broken JSON",
    vars: [["post_arg.a", "==", "1"]],
    request: post(JSON_TYPE, '{"a":"1"'),
    matches: false,
  },
  {
    name: "__proto__ as a name",
    vars: [["post_arg.__proto__.x", "==", "1"]],
    request: post(JSON_TYPE, "{}"),
    matches: false,
  },
  {
    name: "a multipart field",
    vars: [["post_arg.a", "==", "1"]],
    request: post(MULTIPART, multipart({ b: "2", a: "1" })),
    matches: true,
  },
  {
    name: "a GraphQL operation in JSON",
    vars: [
      ["graphql_operation", "==", "mutation"],
      ["graphql_name", "==", "Buy"],
      ["graphql_root_fields", "has", "cart"],
    ],
    request: post("application/json", JSON.stringify({ query: "mutation Buy { cart { id } pay }" })),
    matches: true,
  },
  {
    name: "a bare GraphQL document",
    vars: [["graphql_operation", "==", "query"]],
    request: post("application/graphql", "{ shop { id } }"),
    matches: true,
  },
  {
    name: "no GraphQL",
    vars: [["graphql_operation", "==", "query"]],
    request: post("application/graphql", "}{"),
    matches: false,
  },
  {
    name: "a GraphQL query in the target",
    vars: [["graphql_name", "==", "Q"]],
    request: { target: `/?query=${encodeURIComponent("query Q { shop }")}` },
    matches: true,
  },
]) {
  test(`${name} ${matches ? "matches" : "does not match"} ${JSON.stringify(vars)}`, async () => {
    const gateway = testGateway({
      routes: [{ uri: "/*", vars, upstream }],
      upstream: (forwarded) => ({ body: forwarded.body }),
    });
    const answer = await gateway.request(request);
    assert.equal(answer.status, matches ? 200 : 404);
    if (matches) assert.equal(answer.text, request.body ?? "", "the body still goes upstream");
  });
}

test("a body beyond the limit has no variables, and is proxied by the route that asks for none", async () => {
  const gateway = testGateway({
    config: "cardea: { http: { max_buffered_body_size: 64k } }",
    routes: [
      { uri: "/*", priority: 1, vars: [["post_arg_a", "==", "1"]], upstream: { nodes: { "one:80": 1 } } },
      { uri: "/*", upstream: { nodes: { "other:80": 1 } } },
    ],
    upstream: (forwarded) => ({ body: `${forwarded.node} ${forwarded.body.length}` }),
  });
  assert.equal((await gateway.request(post(FORM, "a=1"))).text, "one:80 3");
  const long = `a=1&b=${"x".repeat(70_000)}`;
  assert.equal((await gateway.request(post(FORM, long))).text, `other:80 ${long.length}`);
});

test("paths that are none read nothing", () => {
  for (const path of ["", "[", "a[", "a]b", "a..", "..", "[x]"])
    assert.equal(readPath({ a: 1 }, path), undefined, path);
  assert.deepEqual(readPath({ a: [{ b: 1 }, { c: { b: 2 } }] }, "$..b"), [1, 2]);
  assert.equal(readPath({ "x y": 1 }, "['x y']"), 1);
});

const MEBIBYTE = 1024 * 1024;
for (const { name, config, vars, request, matches } of [
  {
    name: "a form at the limit of max_post_args_readable_size",
    config: "apisix: { max_post_args_readable_size: 1 }",
    vars: [["post_arg_a", "==", "1"]],
    request: post(FORM, `a=1&b=${"x".repeat(MEBIBYTE - 6)}`),
    matches: true,
  },
  {
    name: "a form beyond the limit of max_post_args_readable_size",
    config: "apisix: { max_post_args_readable_size: 1 }",
    vars: [["post_arg_a", "==", "1"]],
    request: post(FORM, `a=1&b=${"x".repeat(MEBIBYTE - 5)}`),
    matches: false,
  },
  {
    name: "a form under max_post_args_readable_size 0, which is no limit",
    config: "apisix: { max_post_args_readable_size: 0 }",
    vars: [["post_arg_a", "==", "1"]],
    request: post(FORM, `a=1&b=${"x".repeat(MEBIBYTE)}`),
    matches: true,
  },
  {
    name: "a GraphQL document at the limit of graphql.max_size",
    config: "graphql: { max_size: 16 }",
    vars: [["graphql_name", "==", "Q"]],
    request: post("application/graphql", "query Q { shop }"),
    matches: true,
  },
  {
    name: "a GraphQL document beyond the limit of graphql.max_size",
    config: "graphql: { max_size: 15 }",
    vars: [["graphql_name", "==", "Q"]],
    request: post("application/graphql", "query Q { shop }"),
    matches: false,
  },
]) {
  test(`${name} ${matches ? "has" : "has no"} variables`, async () => {
    const gateway = testGateway({ config, routes: [{ uri: "/*", vars, upstream }] });
    assert.equal((await gateway.request(request)).status, matches ? 200 : 404);
  });
}
