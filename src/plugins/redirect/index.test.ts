import assert from "node:assert/strict";
import { test } from "node:test";
import { testGateway } from "../../testing/index.ts";
import redirect from "./index.ts";

function gatewayWith(config: object, staticFile?: string) {
  return testGateway({
    config: staticFile,
    routes: [{ uri: "/*", plugins: { redirect: config }, upstream: { nodes: { "a:80": 1 } } }],
  });
}

for (const { config, target, status, location } of [
  { config: { uri: "/test/add", ret_code: 301 }, target: "/hello", status: 301, location: "/test/add" },
  { config: { uri: "$uri/test/add" }, target: "/hello", status: 302, location: "/hello/test/add" },
  {
    config: { uri: "$uri/test/a${arg_name}c" },
    target: "/hello?name=json",
    status: 302,
    location: "/hello/test/ajsonc",
  },
  { config: { uri: "$uri/" }, target: "/%5Cevil.com", status: 302, location: "/%5Cevil.com/" },
  { config: { uri: "/$arg_to" }, target: "/a?to=/evil.com", status: 302, location: "/evil.com" },
  { config: { uri: "/$arg_to" }, target: "/a?to=///%5Cevil.com", status: 302, location: "/%5Cevil.com" },
  { config: { uri: "//b.com$uri" }, target: "/a", status: 302, location: "//b.com/a" },
  {
    config: { regex_uri: ["^/old(.*)$", "$1"] },
    target: "/old/%5Cevil.com",
    status: 302,
    location: "/%5Cevil.com",
  },
  { config: { uri: "/foo$$uri" }, target: "/hello", status: 302, location: "/foo$/hello" },
  {
    config: { uri: "\\$uri/foo$uri\\$uri/bar" },
    target: "/hello",
    status: 302,
    location: "\\$uri/foo/hello\\$uri/bar",
  },
  { config: { uri: "$uri/$bad_var/bar" }, target: "/hello", status: 302, location: "/hello//bar" },
  {
    config: { uri: "https://$host.org$uri.html" },
    target: "/a",
    status: 302,
    location: "https://foo.com.org/a.html",
  },
  {
    config: { regex_uri: ["^/test/(.*)", "http://test.com/${1}"] },
    target: "/test/1",
    status: 302,
    location: "http://test.com/1",
  },
  {
    config: { regex_uri: ["^/test/(.*)", "http://test.com/${1}"] },
    target: "/hello",
    status: 200,
    location: undefined,
  },
  {
    config: { regex_uri: ["^/test/(.*)", "http://test.com/${1}"], encode_uri: true },
    target: "/test/with%20space%25",
    status: 302,
    location: "http://test.com/with%20space%25",
  },
  {
    config: { uri: "$uri?a=100%", encode_uri: true },
    target: "/h%25/%e4%b8%ad",
    status: 302,
    location: "/h%25/%E4%B8%AD?a=100%",
  },
  {
    config: { uri: "$uri", append_query_string: true },
    target: "/hello?name=json",
    status: 302,
    location: "/hello?name=json",
  },
  { config: { uri: "$uri", append_query_string: true }, target: "/hello", status: 302, location: "/hello" },
  {
    config: { uri: "$uri?type=string", append_query_string: true },
    target: "/hello?name=json",
    status: 302,
    location: "/hello?type=string&name=json",
  },
  {
    config: { regex_uri: ["^/test/(.*)", "http://test.com/${1}?q=apisix"], append_query_string: true },
    target: "/test/hello?o=apache",
    status: 302,
    location: "http://test.com/hello?q=apisix&o=apache",
  },
  {
    config: { uri: "$uri" },
    target: "/a%0d%0aSet-Cookie:%20x",
    status: 302,
    location: "/a%0D%0ASet-Cookie:%20x",
  },
]) {
  test(`${JSON.stringify(config)} answers ${target} with ${status} ${location}`, async () => {
    const answer = await gatewayWith(config).request({ host: "foo.com", target });
    assert.equal(answer.status, status);
    assert.equal(answer.headers.get("location"), location);
    assert.equal(answer.text, status === 200 ? "upstream" : "");
  });
}

for (const { name, staticFile, method, headers, status, location } of [
  { name: "a GET", status: 301, location: "https://foo.com:9443/hello?a=1" },
  { name: "a HEAD", method: "HEAD", status: 301, location: "https://foo.com:9443/hello?a=1" },
  { name: "a POST", method: "POST", status: 308, location: "https://foo.com:9443/hello?a=1" },
  {
    name: "a port of the static file",
    staticFile: "plugin_attr: { redirect: { https_port: 8443 } }",
    status: 301,
    location: "https://foo.com:8443/hello?a=1",
  },
  {
    name: "the usual port, which goes without saying",
    staticFile: "plugin_attr: { redirect: { https_port: 443 } }",
    status: 301,
    location: "https://foo.com/hello?a=1",
  },
  {
    name: "a TLS listener of the static file",
    staticFile: "apisix: { ssl: { listen: [{ port: 8444 }, { port: 8445 }] } }",
    status: 301,
    location: "https://foo.com:8444/hello?a=1",
  },
  {
    name: "no TLS listener",
    staticFile: "apisix: { ssl: { enable: false } }",
    status: 301,
    location: "https://foo.com/hello?a=1",
  },
  {
    name: "a claim of https by anybody",
    headers: { "X-Forwarded-Proto": "https" },
    status: 301,
    location: "https://foo.com:9443/hello?a=1",
  },
  {
    name: "https before a trusted proxy",
    staticFile: "apisix: { trusted_addresses: [127.0.0.1] }",
    headers: { "X-Forwarded-Proto": "https" },
    status: 200,
    location: undefined,
  },
  {
    name: "http before a trusted proxy",
    staticFile: "apisix: { trusted_addresses: [127.0.0.1] }",
    headers: { "X-Forwarded-Proto": "http" },
    status: 301,
    location: "https://foo.com:9443/hello?a=1",
  },
]) {
  test(`http_to_https, ${name}: ${status} ${location}`, async () => {
    const gateway = gatewayWith({ http_to_https: true, ret_code: 307 }, staticFile);
    const answer = await gateway.request({ host: "foo.com", target: "/hello?a=1", method, headers });
    assert.equal(answer.status, status);
    assert.equal(answer.headers.get("location"), location);
  });
}

test("http_to_https: false redirects nobody", async () => {
  assert.equal((await gatewayWith({ http_to_https: false }).request()).status, 200);
});

test("a pattern that is none, and options that exclude each other, are refused at write", () => {
  const config = { ret_code: 302, encode_uri: false, append_query_string: false };
  assert.equal(redirect.check!({ ...config, regex_uri: ["^/a", "/b"] }), null);
  assert.match(
    redirect.check!({ ...config, regex_uri: ["[", "/b"] })!,
    /^invalid regex_uri \(\[, \/b\), err:/,
  );
  assert.equal(
    redirect.check!({ ...config, http_to_https: true, append_query_string: true }),
    "only one of `http_to_https` and `append_query_string` can be configured.",
  );
});
