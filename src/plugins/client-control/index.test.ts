import assert from "node:assert/strict";
import { test } from "node:test";
import { UNKNOWN_LENGTH } from "../../data/transport.ts";
import { definePlugin, Type } from "../../plugin/index.ts";
import { testGateway } from "../../testing/index.ts";

/** A plugin that waits for the whole body, however long. */
const reader = definePlugin({
  name: "reader",
  version: "1",
  priority: 1,
  config: Type.Object({}),
  compile: () => ({
    async access(ctx) {
      await ctx.readBody(1000);
    },
  }),
});

function gatewayWith(plugins: object, globalRules: Record<string, unknown>[] = []) {
  let finished = 0;
  const gateway = testGateway({
    plugins: [reader],
    globalRules,
    routes: [{ uri: "/*", plugins, upstream: { nodes: { "a:80": 1 } } }],
    upstream: (request) => {
      finished++;
      return { body: request.body };
    },
  });
  return { gateway, finished: () => finished };
}

for (const { config, body, status } of [
  { config: { max_body_size: 5 }, body: "12345", status: 200 },
  { config: { max_body_size: 5 }, body: "123456", status: 413 },
  { config: { max_body_size: 5 }, body: "", status: 200 },
  { config: { max_body_size: 0 }, body: "123456", status: 200 },
  { config: {}, body: "123456", status: 200 },
]) {
  for (const isChunked of [false, true]) {
    const framing = isChunked ? "chunked" : "declared";
    test(`${JSON.stringify(config)}: ${body.length} bytes, ${framing}: ${status}`, async () => {
      const { gateway, finished } = gatewayWith({ "client-control": config });
      const request = { method: "POST", body, bodyLength: isChunked ? UNKNOWN_LENGTH : undefined };
      const answer = await gateway.request(request);
      assert.equal(answer.status, status);
      assert.equal(answer.text, status === 200 ? body : '{"error_msg":"413 Request Entity Too Large"}\n');
      assert.equal(finished(), status === 200 ? 1 : 0);
    });
  }
}

test("a plugin that waits for the body waits no longer when it proves too long", async () => {
  const { gateway, finished } = gatewayWith({ "client-control": { max_body_size: 5 }, reader: {} });
  const answer = await gateway.request({ method: "POST", body: "123456", bodyLength: UNKNOWN_LENGTH });
  assert.equal(answer.status, 413);
  assert.equal(finished(), 0);
});

test("the limit of a route counts more than that of a global rule", async () => {
  const rule = { id: "1", plugins: { "client-control": { max_body_size: 5 } } };
  const { gateway } = gatewayWith({ "client-control": { max_body_size: 0 } }, [rule]);
  const answer = await gateway.request({ method: "POST", body: "123456", bodyLength: UNKNOWN_LENGTH });
  assert.equal(answer.status, 200);
});
