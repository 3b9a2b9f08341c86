import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { testGateway, type TestRequest, type UpstreamAnswer } from "../../testing/index.ts";
import { ksuid, rangeId, uuidv7 } from "./algorithms.ts";
import requestId from "./index.ts";

/** The id that the upstream got and the one in the answer. */
async function ids(
  config: object,
  request: TestRequest = {},
  more: { name?: string; upstream?: UpstreamAnswer; globalRules?: Record<string, unknown>[] } = {},
): Promise<{ upstream: string | undefined; client: string | undefined }> {
  const { name = "x-request-id", upstream = {}, globalRules = [] } = more;
  let got: string | undefined;
  const gateway = testGateway({
    globalRules,
    routes: [{ uri: "/*", plugins: { "request-id": config }, upstream: { nodes: { "a:80": 1 } } }],
    upstream: (forwarded) => {
      got = forwarded.headers.joined(name);
      return upstream;
    },
  });
  const answer = await gateway.request(request);
  return { upstream: got, client: answer.headers.joined(name) };
}

for (const [config, form] of [
  [{}, /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/],
  [{ algorithm: "uuidv7" }, /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/],
  [{ algorithm: "nanoid" }, /^[A-Za-z0-9_-]{21}$/],
  [{ algorithm: "ksuid" }, /^[A-Za-z0-9]{27}$/],
  [{ algorithm: "range_id" }, /^[A-Za-z0-9]{16}$/],
  [{ algorithm: "range_id", range_id: { length: 20, char_set: "abcdefg" } }, /^[a-g]{20}$/],
  [{ algorithm: "range_id", range_id: { length: 6 } }, /^[A-Za-z0-9]{6}$/],
] as const) {
  test(`${JSON.stringify(config)} makes ids of its form, the same for upstream and client`, async () => {
    const { upstream, client } = await ids(config);
    assert.match(upstream!, form);
    assert.equal(client, upstream);
    assert.notEqual((await ids(config)).client, client);
  });
}

test("an id of the client is kept, an empty one is not", async () => {
  assert.deepEqual(await ids({}, { headers: { "X-Request-ID": "123" } }), { upstream: "123", client: "123" });
  const { upstream, client } = await ids({}, { headers: { "X-Request-ID": "" } });
  assert.equal(upstream?.length, 36);
  assert.equal(client, upstream);
});

test("the answer can go without, and an id of the upstream stays", async () => {
  const { upstream, client } = await ids({ include_in_response: false });
  assert.equal(upstream?.length, 36);
  assert.equal(client, undefined);
  const own = await ids({}, {}, { upstream: { headers: { "X-Request-Id": "mine" } } });
  assert.equal(own.client, "mine");
});

test("a global rule and a route with different headers give different ids", async () => {
  const globalRules = [{ id: "1", plugins: { "request-id": { header_name: "X-Other-Id" } } }];
  const other = await ids({}, {}, { name: "x-other-id", globalRules });
  assert.equal(other.upstream?.length, 36);
  assert.equal(other.client, other.upstream);
  const both = testGateway({
    globalRules,
    routes: [{ uri: "/*", plugins: { "request-id": {} }, upstream: { nodes: { "a:80": 1 } } }],
  });
  const { headers } = await both.request();
  assert.notEqual(headers.get("x-request-id"), headers.get("x-other-id"));
});

test("answers of the gateway carry the id too, and plugins know it as a variable", async () => {
  const gateway = testGateway({
    routes: [{ uri: "/*", plugins: { "request-id": {}, redirect: { uri: "/$apisix_request_id" } } }],
  });
  const answer = await gateway.request();
  assert.equal(answer.headers.get("location"), `/${answer.headers.get("x-request-id")}`);
});

test("ids of version 7 grow within a millisecond, beyond its sequence, and when the clock goes back", () => {
  const now = 1_800_000_000_000;
  let previous = uuidv7(now);
  assert.equal(Number.parseInt(previous.slice(0, 13).replace("-", ""), 16), now);
  for (let i = 0; i < 10_000; i++) {
    const next = uuidv7(i % 2 === 0 ? now : now - 500);
    assert.ok(next > previous, `${next} after ${previous}`);
    previous = next;
  }
});

test("a KSUID is the base 62 of time and chance", () => {
  const seconds = 1_800_000_000;
  let value = 0n;
  for (const character of ksuid(seconds * 1000)) {
    const digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    value = value * 62n + BigInt(digits.indexOf(character));
  }
  assert.equal(Number(value >> 128n), seconds - 1_400_000_000);
});

test("ids of a range have its length and only its characters", () => {
  fc.assert(
    fc.property(fc.integer({ min: 6, max: 200 }), fc.integer({ min: 6, max: 94 }), (length, size) => {
      const alphabet = String.fromCharCode(...Array.from({ length: size }, (_, i) => 0x21 + i));
      const id = rangeId(length, alphabet);
      assert.equal(id.length, length);
      for (const character of id) assert.ok(alphabet.includes(character));
    }),
    { numRuns: 50 },
  );
});

test("what cannot be a header, or be in one, is refused at write", () => {
  const config = {
    header_name: "X-Id",
    include_in_response: true,
    algorithm: "uuid" as const,
    range_id: { length: 6, char_set: "abcdef" },
  };
  assert.equal(requestId.check!(config), null);
  assert.match(requestId.check!({ ...config, header_name: "X Id" })!, /"header_name".*given "X Id"/);
  assert.match(
    requestId.check!({ ...config, range_id: { length: 6, char_set: "abc\r\ndef" } })!,
    /"char_set"/,
  );
});
