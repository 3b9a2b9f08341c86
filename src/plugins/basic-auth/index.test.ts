import assert from "node:assert/strict";
import { test } from "node:test";
import { testGateway, type ForwardedRequest } from "../../testing/index.ts";
import { isPassword, readBasicCredentials } from "./credentials.ts";

const FOO = { username: "jack", plugins: { "basic-auth": { username: "foo", password: "bar" } } };

function gatewayWith(config: object, consumers: Record<string, unknown>[] = [FOO]) {
  const forwarded: ForwardedRequest[] = [];
  const gateway = testGateway({
    consumers,
    routes: [{ uri: "/*", plugins: { "basic-auth": config }, upstream: { nodes: { "a:80": 1 } } }],
    upstream: (request) => {
      forwarded.push(request);
      return {};
    },
  });
  return { gateway, forwarded };
}

const basic = (text: string, scheme = "Basic"): Record<string, string> => ({
  Authorization: `${scheme} ${Buffer.from(text).toString("base64")}`,
});

for (const { name, headers, status, message } of [
  { name: "right credentials", headers: basic("foo:bar"), status: 200 },
  { name: "the scheme in lower case", headers: basic("foo:bar", "basic"), status: 200 },
  { name: "the scheme in mixed case", headers: basic("foo:bar", "bASiC"), status: 200 },
  { name: "a line feed behind the password", headers: basic("foo:bar\n"), status: 200 },
  { name: "no header", headers: {}, status: 401, message: "Missing authorization in request" },
  {
    name: "another scheme",
    headers: basic("foo:bar", "Bearer"),
    status: 401,
    message: "Invalid authorization in request",
  },
  {
    name: "what is not base64",
    headers: { Authorization: "Basic aca_a" },
    status: 401,
    message: "Invalid authorization in request",
  },
  {
    name: "no colon",
    headers: basic("bar"),
    status: 401,
    message: "Invalid authorization in request",
  },
  { name: "an unknown name", headers: basic("bar:bar"), status: 401, message: "Invalid user authorization" },
  { name: "a wrong password", headers: basic("foo:foo"), status: 401, message: "Invalid user authorization" },
  {
    name: "a password that only begins rightly",
    headers: basic("foo:bar:baz"),
    status: 401,
    message: "Invalid user authorization",
  },
]) {
  test(`${name}: ${status}`, async () => {
    const { gateway, forwarded } = gatewayWith({});
    const answer = await gateway.request({ headers });
    assert.equal(answer.status, status);
    assert.equal(forwarded.length, status === 200 ? 1 : 0);
    if (message !== undefined) {
      assert.deepEqual(JSON.parse(answer.text), { message });
      assert.equal(answer.headers.get("www-authenticate"), 'Basic realm="basic"');
    }
  });
}

test("the upstream learns the consumer, and the credentials unless they are hidden", async () => {
  const { gateway, forwarded } = gatewayWith({});
  await gateway.request({ headers: basic("foo:bar") });
  assert.equal(forwarded[0].headers.get("x-consumer-username"), "jack");
  assert.equal(forwarded[0].headers.get("authorization"), "Basic Zm9vOmJhcg==");

  const hiding = gatewayWith({ hide_credentials: true });
  await hiding.gateway.request({ headers: basic("foo:bar") });
  assert.equal(hiding.forwarded[0].headers.has("authorization"), false);
});

test("the challenge names the configured realm", async () => {
  const { gateway } = gatewayWith({ realm: "secure-zone" });
  const answer = await gateway.request();
  assert.equal(answer.headers.get("www-authenticate"), 'Basic realm="secure-zone"');
});

test("an anonymous consumer stands in for missing or wrong credentials; if it does not exist, nobody passes", async () => {
  const { gateway, forwarded } = gatewayWith({ anonymous_consumer: "guest" }, [FOO, { username: "guest" }]);
  assert.equal((await gateway.request()).status, 200);
  assert.equal((await gateway.request({ headers: basic("foo:no") })).status, 200);
  assert.equal(forwarded[1].headers.get("x-consumer-username"), "guest");

  const broken = gatewayWith({ anonymous_consumer: "nobody" });
  const answer = await broken.gateway.request();
  assert.equal(answer.status, 401);
  assert.deepEqual(JSON.parse(answer.text), { message: "Invalid user authorization" });
  assert.equal(answer.headers.get("www-authenticate"), 'Basic realm="basic"');
});

test("passwords may hold colons, blanks and any character", async () => {
  const password = "a:b c:ä中";
  const { gateway } = gatewayWith({}, [
    { username: "u", plugins: { "basic-auth": { username: "u", password } } },
  ]);
  assert.equal((await gateway.request({ headers: basic(`u:${password}`) })).status, 200);
  assert.equal((await gateway.request({ headers: basic("u:a") })).status, 401);
});

test("a reference to a secret that is not resolved lets nobody in", async () => {
  const password = "$secret://vault/1/foo/passwd";
  const { gateway } = gatewayWith({}, [
    { username: "u", plugins: { "basic-auth": { username: "u", password } } },
  ]);
  assert.equal((await gateway.request({ headers: basic(`u:${password}`) })).status, 401);
});

test("a password that changes counts from the next request on", async () => {
  const { gateway } = gatewayWith({});
  assert.equal((await gateway.request({ headers: basic("foo:bar") })).status, 200);
  const plugins = { "basic-auth": { username: "foo", password: "new" } };
  gateway.put("consumer", "jack", { username: "jack", plugins });
  assert.equal((await gateway.request({ headers: basic("foo:bar") })).status, 401);
  assert.equal((await gateway.request({ headers: basic("foo:new") })).status, 200);
});

test("credentials end at the first colon, passwords compare whole", () => {
  assert.deepEqual(readBasicCredentials("Basic Zm9vOg=="), { username: "foo", password: "" });
  assert.equal(readBasicCredentials("Basic"), null);
  assert.equal(readBasicCredentials("Basic "), null);
  assert.equal(isPassword("bar", Buffer.from("bar")), true);
  assert.equal(isPassword("bar", Buffer.from("barr")), false);
  assert.equal(isPassword("bar", Buffer.from("baz")), false);
  assert.equal(isPassword("", Buffer.from("bar")), false);
});
