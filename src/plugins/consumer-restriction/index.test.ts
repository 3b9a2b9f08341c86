import assert from "node:assert/strict";
import { test } from "node:test";
import { testGateway } from "../../testing/index.ts";

const consumers = [
  { username: "jack", group_id: "group-of-jack", plugins: { "key-auth": { key: "jack" } } },
  { username: "rose", group_id: "group-of-rose", plugins: { "key-auth": { key: "rose" } } },
  { username: "cal", plugins: { "key-auth": { key: "cal" } } },
];

function gatewayWith(
  config: object,
  auth: object = { "key-auth": {} },
  own: Record<string, unknown>[] = consumers,
) {
  return testGateway({
    consumers: own,
    consumerGroups: [
      { id: "group-of-jack", plugins: {} },
      { id: "group-of-rose", plugins: {} },
    ],
    services: [{ id: "s", upstream: { nodes: { "a:80": 1 } } }],
    routes: [
      {
        id: "r1",
        uri: "/with-service",
        service_id: "s",
        plugins: { ...auth, "consumer-restriction": config },
      },
      {
        id: "r2",
        uri: "/*",
        plugins: { ...auth, "consumer-restriction": config },
        upstream: { nodes: { "a:80": 1 } },
      },
    ],
  });
}

for (const { name, config, as, method, status, target } of [
  { name: "a listed consumer passes", config: { whitelist: ["jack"] }, as: "jack", status: 200 },
  { name: "another does not", config: { whitelist: ["jack"] }, as: "rose", status: 403 },
  { name: "a blacklisted consumer is refused", config: { blacklist: ["jack"] }, as: "jack", status: 403 },
  { name: "others pass a blacklist", config: { blacklist: ["jack"] }, as: "rose", status: 200 },
  {
    name: "the blacklist counts before the whitelist",
    config: { blacklist: ["jack"], whitelist: ["jack"] },
    as: "jack",
    status: 403,
  },
  {
    name: "a consumer is held to its methods",
    config: { allowed_by_methods: [{ user: "jack", methods: ["POST"] }] },
    as: "jack",
    status: 403,
  },
  {
    name: "and may use them",
    config: { allowed_by_methods: [{ user: "jack", methods: ["POST"] }] },
    as: "jack",
    method: "POST",
    status: 200,
  },
  {
    name: "methods of one consumer say nothing about others",
    config: { allowed_by_methods: [{ user: "jack", methods: ["POST"] }] },
    as: "rose",
    status: 200,
  },
  {
    name: "a consumer without methods may use none",
    config: { allowed_by_methods: [{ user: "jack" }] },
    as: "jack",
    status: 403,
  },
  {
    name: "the whitelist counts before methods",
    config: { whitelist: ["jack"], allowed_by_methods: [{ user: "jack", methods: ["POST"] }] },
    as: "jack",
    status: 200,
  },
  {
    name: "methods do not open a whitelist",
    config: { whitelist: ["jack"], allowed_by_methods: [{ user: "rose", methods: ["GET"] }] },
    as: "rose",
    status: 403,
  },
  {
    name: "an empty list of methods refuses nobody",
    config: { allowed_by_methods: [] },
    as: "rose",
    status: 200,
  },
  {
    name: "a group can be listed",
    config: { type: "consumer_group_id", whitelist: ["group-of-jack"] },
    as: "jack",
    status: 200,
  },
  {
    name: "another group does not pass",
    config: { type: "consumer_group_id", whitelist: ["group-of-jack"] },
    as: "rose",
    status: 403,
  },
  {
    name: "a consumer without a group is refused with 401",
    config: { type: "consumer_group_id", blacklist: ["group-of-jack"] },
    as: "cal",
    status: 401,
  },
  { name: "a route can be listed", config: { type: "route_id", whitelist: ["r2"] }, as: "jack", status: 200 },
  {
    name: "a route can be kept out",
    config: { type: "route_id", blacklist: ["r2"] },
    as: "jack",
    status: 403,
  },
  {
    name: "a service can be listed",
    config: { type: "service_id", whitelist: ["s"] },
    as: "jack",
    target: "/with-service",
    status: 200,
  },
  {
    name: "a route without a service is refused with 401",
    config: { type: "service_id", whitelist: ["s"] },
    as: "jack",
    status: 401,
  },
  {
    name: "the status of a refusal can be chosen",
    config: { whitelist: ["jack"], rejected_code: 402 },
    as: "rose",
    status: 402,
  },
]) {
  test(`${name}: ${status}`, async () => {
    const answer = await gatewayWith(config).request({
      target: target ?? "/",
      method,
      headers: { apikey: as },
    });
    assert.equal(answer.status, status);
  });
}

test("a refusal says what was looked at, or the configured message", async () => {
  const rose = { headers: { apikey: "rose" } };
  const plain = await gatewayWith({ whitelist: ["jack"] }).request(rose);
  assert.deepEqual(JSON.parse(plain.text), { message: "The consumer_name is forbidden." });
  const own = await gatewayWith({ whitelist: ["jack"], rejected_msg: "request is forbidden" }).request(rose);
  assert.deepEqual(JSON.parse(own.text), { message: "request is forbidden" });
});

test("without a consumer nobody passes, whatever the list", async () => {
  for (const config of [{ whitelist: ["jack"] }, { blacklist: ["jack"] }, { allowed_by_methods: [] }]) {
    const answer = await gatewayWith(config, {}).request();
    assert.equal(answer.status, 401);
    assert.deepEqual(JSON.parse(answer.text), {
      message: "The request is rejected, please check the consumer_name for this request",
    });
  }
});

test("a consumer can bring its own restriction", async () => {
  const jack = {
    username: "jack",
    plugins: { "key-auth": { key: "jack" }, "consumer-restriction": { type: "route_id", whitelist: ["r9"] } },
  };
  const gateway = gatewayWith({ whitelist: ["jack"] }, { "key-auth": {} }, [jack]);
  const answer = await gateway.request({ headers: { apikey: "jack" } });
  assert.equal(answer.status, 403);
  assert.deepEqual(JSON.parse(answer.text), { message: "The route_id is forbidden." });
});
