import assert from "node:assert/strict";
import { test } from "node:test";
import { testGateway, type ForwardedRequest } from "../../testing/index.ts";

function gatewayWith(config: object, consumers: Record<string, unknown>[] = [JACK]) {
  const forwarded: ForwardedRequest[] = [];
  const gateway = testGateway({
    consumers,
    routes: [{ uri: "/*", plugins: { "key-auth": config }, upstream: { nodes: { "a:80": 1 } } }],
    upstream: (request) => {
      forwarded.push(request);
      return {};
    },
  });
  return { gateway, forwarded };
}

const JACK = { username: "jack", labels: { custom_id: "c-7" }, plugins: { "key-auth": { key: "secret" } } };

test("a request with a consumer's key in the header passes, and the upstream learns who it is", async () => {
  const { gateway, forwarded } = gatewayWith({});
  const answer = await gateway.request({
    headers: { apikey: "secret", "X-Consumer-Username": "root", "X-Credential-Identifier": "forged" },
  });
  assert.equal(answer.status, 200);
  const { headers } = forwarded[0];
  assert.deepEqual(headers.getAll("x-consumer-username"), ["jack"]);
  assert.equal(headers.get("x-consumer-custom-id"), "c-7");
  assert.equal(headers.get("x-credential-identifier"), undefined);
  assert.equal(headers.get("apikey"), "secret");
});

test("without a key, or with an unknown one, the answer is 401 with a challenge", async () => {
  const { gateway, forwarded } = gatewayWith({ realm: "shop" });
  const missing = await gateway.request();
  assert.equal(missing.status, 401);
  assert.equal(missing.headers.get("www-authenticate"), 'apikey realm="shop"');
  assert.deepEqual(JSON.parse(missing.text), { message: "Missing API key in request" });
  const wrong = await gateway.request({ headers: { apikey: "other" } });
  assert.equal(wrong.status, 401);
  assert.deepEqual(JSON.parse(wrong.text), { message: "Invalid API key in request" });
  assert.equal(forwarded.length, 0);
});

test("the header counts before the query", async () => {
  const { gateway } = gatewayWith({});
  assert.equal((await gateway.request({ target: "/?apikey=secret" })).status, 200);
  assert.equal(
    (await gateway.request({ target: "/?apikey=secret", headers: { apikey: "wrong" } })).status,
    401,
  );
});

test("names of header and query argument can be chosen", async () => {
  const { gateway } = gatewayWith({ header: "X-Key", query: "k" });
  assert.equal((await gateway.request({ headers: { "x-key": "secret" } })).status, 200);
  assert.equal((await gateway.request({ target: "/?a=1&k=secret" })).status, 200);
  assert.equal((await gateway.request({ headers: { apikey: "secret" } })).status, 401);
});

test("hidden credentials do not reach the upstream, in header or query", async () => {
  const { gateway, forwarded } = gatewayWith({ hide_credentials: true });
  await gateway.request({ target: "/x?a=1&apikey=secret&b=2", headers: { apikey: "secret" } });
  assert.equal(forwarded[0].target, "/x?a=1&b=2");
  assert.equal(forwarded[0].headers.has("apikey"), false);
});

test("an anonymous consumer stands in for a missing or wrong key; if it does not exist, nobody passes", async () => {
  const guest = { username: "guest" };
  const { gateway, forwarded } = gatewayWith({ anonymous_consumer: "guest" }, [JACK, guest]);
  assert.equal((await gateway.request()).status, 200);
  assert.equal((await gateway.request({ headers: { apikey: "wrong" } })).status, 200);
  assert.equal(forwarded[1].headers.get("x-consumer-username"), "guest");

  const { gateway: broken } = gatewayWith({ anonymous_consumer: "nobody" });
  const answer = await broken.request();
  assert.equal(answer.status, 401);
  assert.deepEqual(JSON.parse(answer.text), { message: "Invalid user authorization" });
});

test("a key that changes or goes away counts from the next request on", async () => {
  const { gateway } = gatewayWith({});
  assert.equal((await gateway.request({ headers: { apikey: "secret" } })).status, 200);
  gateway.put("consumer", "jack", { username: "jack", plugins: { "key-auth": { key: "new" } } });
  assert.equal((await gateway.request({ headers: { apikey: "secret" } })).status, 401);
  assert.equal((await gateway.request({ headers: { apikey: "new" } })).status, 200);
  gateway.put("consumer", "jack", null);
  assert.equal((await gateway.request({ headers: { apikey: "new" } })).status, 401);
});

test("a reference to a secret that is not resolved is nobody's key", async () => {
  const key = "$secret://vault/1/jack/key";
  const { gateway } = gatewayWith({}, [{ username: "jack", plugins: { "key-auth": { key } } }]);
  assert.equal((await gateway.request({ headers: { apikey: key } })).status, 401);
});
