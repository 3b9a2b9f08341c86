import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import * as fc from "fast-check";
import { RESOURCE_TYPES } from "../../src/model/resources.ts";
import { KEY, TestNode } from "./node.ts";

const node = new TestNode();
before(async () => await node.start());
after(async () => await node.dispose());

const RUNS = Number(process.env.CARDEA_PROPERTY_RUNS ?? 300);
const word = fc.constantFrom(
  "1",
  "a",
  "jack",
  "vault",
  "credentials",
  "__proto__",
  "constructor",
  "plugins",
  "%2F",
  "..",
  "é",
);
const type = fc.constantFrom(
  ...RESOURCE_TYPES.map((each) => each.plural),
  "schema",
  "configs",
  "history",
  "__proto__",
);
const method = fc.constantFrom("GET", "PUT", "POST", "PATCH", "DELETE");
const query = fc.constantFrom(
  "",
  "?force=true",
  "?ttl=5",
  "?page=1&page_size=10",
  "?name=(",
  "?filter=%zz",
  "?label=a",
);
const field = fc.constantFrom(
  "id",
  "uri",
  "uris",
  "plugins",
  "upstream",
  "upstream_id",
  "nodes",
  "username",
  "__proto__",
  "constructor",
  "labels",
  "vars",
  "key-auth",
  "limit-count",
  "_meta",
  "create_time",
  "type",
  "checks",
);
const { value } = fc.letrec((tie) => ({
  value: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    fc.constantFrom(null, true, 0, -1, 1.5, 1e308, "", "1", "/a", "127.0.0.1:80", "$env://HOME"),
    fc.array(tie("value"), { maxLength: 3 }),
    fc.dictionary(field, tie("value"), { maxKeys: 4 }),
  ),
}));

test("P13: whatever is sent, the answer is no failure of ours, and the API goes on", async () => {
  await fc.assert(
    fc.asyncProperty(
      method,
      type,
      fc.array(word, { maxLength: 4 }),
      query,
      value,
      async (verb, kind, steps, rest, body) => {
        const path = `/${[kind, ...steps].map((step) => (step === "%2F" ? step : encodeURIComponent(step))).join("/")}`;
        const reply = await node.call(verb, path + rest, verb === "GET" ? undefined : JSON.stringify(body));
        assert.ok(
          reply.status < 500,
          `${verb} ${path}${rest} ${JSON.stringify(body)}: ${reply.status} ${reply.text}`,
        );
        assert.ok(
          reply.status < 400 || reply.body.error_msg !== undefined || reply.body.message !== undefined,
        );
      },
    ),
    { numRuns: RUNS, endOnFailure: true },
  );
  assert.equal(({} as Record<string, unknown>)["uri"], undefined);
  const quarantine = await node.callControl("GET", "/v1/quarantine");
  assert.deepEqual(quarantine.body.list, [], "what the API accepted is valid");
});

test("keys of strange shapes are refused alike", async () => {
  for (const key of ["", " ", "x".repeat(5000), KEY.slice(1), `${KEY} x`, "ü"]) {
    const headers = { "x-api-key": encodeURIComponent(key) };
    const reply = await fetch(`${node.url}/apisix/admin/routes`, { headers });
    assert.equal(reply.status, 401);
  }
  const twice = await fetch(`${node.url}/apisix/admin/routes?api_key=wrong&api_key=${KEY}x`);
  assert.equal(twice.status, 401);
});
