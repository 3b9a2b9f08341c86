/** Plugin chains as a request goes through them: order, merging, `_meta`, failure. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { definePlugin, Type, type PluginHandlers } from "../../plugin/index.ts";
import type { PluginDefinition } from "../../plugin/definition.ts";
import { testGateway, type TestGatewayOptions } from "../../testing/index.ts";

const upstream = { nodes: { "a:80": 1 } };

/** A plugin that writes down when its phases run. */
function tracer(
  name: string,
  priority: number,
  trace: string[],
  extra: Partial<PluginDefinition> = {},
): PluginDefinition {
  const definition = definePlugin({
    name,
    version: "1",
    priority,
    config: Type.Object({ tag: Type.String({ default: "" }) }),
    compile(config): PluginHandlers {
      const say = (phase: string) => () => {
        trace.push(`${name}${config.tag}:${phase}`);
        return undefined;
      };
      return {
        rewrite: say("rewrite"),
        access: say("access"),
        beforeProxy: say("beforeProxy"),
        responseHeaders: say("responseHeaders"),
        log: say("log"),
      };
    },
  });
  return { ...(definition as unknown as PluginDefinition), ...extra };
}

function only(
  name: string,
  handlers: PluginHandlers,
  extra: Partial<PluginDefinition> = {},
): PluginDefinition {
  return { name, version: "1", priority: 10, config: Type.Object({}), compile: () => handlers, ...extra };
}

function gatewayWith(options: TestGatewayOptions) {
  return testGateway({ routes: [{ uri: "/*", upstream }], ...options });
}

test("phases run in order, global rules first in each, higher priority first within", async () => {
  const trace: string[] = [];
  const gateway = gatewayWith({
    plugins: [tracer("low", 1, trace), tracer("high", 9, trace), tracer("global", 5, trace)],
    routes: [{ uri: "/*", plugins: { low: {}, high: {} }, upstream }],
    globalRules: [{ id: "1", plugins: { global: {} } }],
  });
  assert.equal((await gateway.request()).status, 200);
  const phases = ["rewrite", "access", "beforeProxy", "responseHeaders", "log"];
  assert.deepEqual(
    trace,
    phases.flatMap((phase) => [`global:${phase}`, `high:${phase}`, `low:${phase}`]),
  );
});

test("consumer over group over route over plugin config over service: the strongest configuration counts, whole", async () => {
  const levels = ["service", "pluginConfig", "route", "group", "consumer"] as const;
  for (const [strongest, level] of levels.entries()) {
    const trace: string[] = [];
    const plugins = (at: number): object => (at <= strongest ? { t: { tag: `@${levels[at]}` } } : {});
    const gateway = gatewayWith({
      plugins: [tracer("t", 1, trace)],
      services: [{ id: "s", plugins: plugins(0), upstream }],
      pluginConfigs: [{ id: "p", plugins: plugins(1) }],
      routes: [
        { uri: "/*", service_id: "s", plugin_config_id: "p", plugins: { "key-auth": {}, ...plugins(2) } },
      ],
      consumerGroups: [{ id: "g", plugins: plugins(3) }],
      consumers: [{ username: "jack", group_id: "g", plugins: { "key-auth": { key: "k" }, ...plugins(4) } }],
    });
    await gateway.request({ headers: { apikey: "k" } });
    assert.deepEqual(
      trace.filter((line) => line.endsWith(":access")),
      [`t@${level}:access`],
      level,
    );
  }
});

test("a plugin that only the consumer has runs its rewrite after authentication, exactly once", async () => {
  const trace: string[] = [];
  const gateway = gatewayWith({
    plugins: [tracer("t", 9000, trace)],
    routes: [{ uri: "/*", plugins: { "key-auth": {} }, upstream }],
    consumers: [{ username: "jack", plugins: { "key-auth": { key: "k" }, t: {} } }],
  });
  await gateway.request({ headers: { apikey: "k" } });
  assert.deepEqual(trace, ["t:rewrite", "t:access", "t:beforeProxy", "t:responseHeaders", "t:log"]);
});

for (const { name, meta, expected } of [
  { name: "a disabled plugin does not run", meta: { disable: true }, expected: ["b"] },
  { name: "_meta.priority reorders", meta: { priority: 0 }, expected: ["b", "a"] },
  {
    name: "a filter that does not hold skips the plugin",
    meta: { filter: [["arg_x", "==", "2"]] },
    expected: ["b"],
  },
  {
    name: "a filter that holds changes nothing",
    meta: { filter: [["arg_x", "==", "1"]] },
    expected: ["a", "b"],
  },
]) {
  test(name, async () => {
    const trace: string[] = [];
    const gateway = gatewayWith({
      plugins: [tracer("a", 2, trace), tracer("b", 1, trace)],
      routes: [{ uri: "/*", plugins: { a: { _meta: meta }, b: {} }, upstream }],
    });
    await gateway.request({ target: "/?x=1" });
    assert.deepEqual(
      trace.filter((line) => line.endsWith(":access")).map((line) => line.split(":")[0]),
      expected,
    );
  });
}

test("error_response replaces the body of a refusal, and of nothing else", async () => {
  for (const [status, body] of [
    [403, "no entry"],
    [200, "mine"],
  ] as const) {
    const gateway = gatewayWith({
      plugins: [only("p", { access: (ctx) => ctx.answer(status, "mine") })],
      routes: [{ uri: "/*", plugins: { p: { _meta: { error_response: "no entry" } } }, upstream }],
    });
    const answer = await gateway.request();
    assert.equal(answer.status, status);
    assert.equal(answer.text, body);
  }
});

test("an answer from any phase before the upstream ends the request, and log still runs once", async () => {
  for (const phase of ["rewrite", "access", "beforeProxy"] as const) {
    for (const later of [false, true]) {
      let logs = 0;
      const gateway = gatewayWith({
        plugins: [
          only("p", {
            [phase]: (ctx: Parameters<NonNullable<PluginHandlers["access"]>>[0]) =>
              later
                ? Promise.resolve(ctx.answer(418, { short: "stout" }))
                : ctx.answer(418, { short: "stout" }),
            log: () => void logs++,
          }),
        ],
        routes: [{ uri: "/*", plugins: { p: {} }, upstream }],
        upstream: () => assert.fail("the upstream was asked"),
      });
      const answer = await gateway.request();
      assert.equal(answer.status, 418, phase);
      assert.equal(answer.text, '{"short":"stout"}\n');
      assert.equal(answer.headers.get("content-type"), "application/json");
      assert.equal(logs, 1);
    }
  }
});

test("a handler that throws fails its own request with 500; the next one is served", async () => {
  let calls = 0;
  const gateway = gatewayWith({
    plugins: [
      only("p", {
        access: () => {
          if (calls++ === 0) throw new Error("bug");
        },
      }),
    ],
    routes: [{ uri: "/*", plugins: { p: {} }, upstream }],
  });
  assert.equal((await gateway.request()).status, 500);
  assert.equal((await gateway.request()).status, 200);
});

test("a security plugin that cannot be compiled refuses requests, another one is left out", async () => {
  const broken = { compile: (): PluginHandlers => assert.fail("cannot compile") };
  for (const [extra, status] of [
    [{ ...broken, failsClosed: true }, 503],
    [{ ...broken, type: "auth" as const }, 503],
    [broken, 200],
  ] as const) {
    const gateway = gatewayWith({
      plugins: [only("p", {}, extra)],
      routes: [{ uri: "/*", plugins: { p: {} }, upstream }],
    });
    assert.equal((await gateway.request()).status, status);
  }
});

test("bodies pass through the body phases, chunk by chunk, and the length is not promised", async () => {
  const shout = (_: unknown, chunk: Buffer, last: boolean): Buffer =>
    Buffer.from(chunk.toString().toUpperCase() + (last ? "!" : ""));
  const gateway = gatewayWith({
    plugins: [only("p", { requestBody: shout, responseBody: shout })],
    routes: [{ uri: "/*", plugins: { p: {} }, upstream }],
    upstream: (request) => ({ body: `got ${request.body.toString()}` }),
  });
  const answer = await gateway.request({ method: "POST", body: "abc" });
  assert.equal(answer.text, "GOT ABC!!");
  assert.equal(answer.headers.has("content-length"), false);
});

test("the whole body can be read before the upstream is asked, and still goes there", async () => {
  const gateway = gatewayWith({
    plugins: [
      only("p", {
        async access(ctx) {
          const body = await ctx.readBody(10);
          if (body === null) return ctx.answer(413, "too long");
          ctx.request.headers.set("X-Body", body.toString());
          return undefined;
        },
      }),
    ],
    routes: [{ uri: "/*", plugins: { p: {} }, upstream }],
    upstream: (request) => ({ body: `${request.headers.get("x-body") ?? ""}=${request.body.toString()}` }),
  });
  assert.equal((await gateway.request({ method: "POST", body: "0123456789" })).text, "0123456789=0123456789");
  assert.equal((await gateway.request({ method: "POST", body: "0123456789a" })).status, 413);
  assert.equal((await gateway.request()).text, "=");
});

test("a body that is longer than the operator allows is held for no plugin, and goes on", async () => {
  const held: (number | null)[] = [];
  const reader = only("reader", {
    access: async (ctx) => {
      held.push((await ctx.readBody(1_000_000))?.length ?? null);
    },
  });
  const gateway = testGateway({
    config: "cardea: { http: { max_buffered_body_size: 1k } }",
    plugins: [reader],
    routes: [{ uri: "/*", plugins: { reader: {} }, upstream }],
    upstream: ({ body }) => ({ body: String(body.length) }),
  });
  for (const length of [1024, 1025]) {
    const answer = await gateway.request({ method: "POST", target: "/", body: "x".repeat(length) });
    assert.equal(answer.text, String(length));
  }
  assert.deepEqual(held, [1024, null]);
});

test("header phases may change the answer, of the upstream and of the gateway", async () => {
  const gateway = gatewayWith({
    plugins: [
      only("p", {
        async responseHeaders(ctx) {
          await Promise.resolve();
          ctx.response.headers.set("X-From", ctx.response.source ?? "");
          ctx.response.status += 1;
        },
      }),
    ],
    globalRules: [{ id: "1", plugins: { p: {} } }],
  });
  const proxied = await gateway.request();
  assert.deepEqual(
    [proxied.status, proxied.headers.get("x-from"), proxied.text],
    [201, "upstream", "upstream"],
  );
});

test("equal configurations are compiled once, and disposed when the last one goes", async () => {
  let compiled = 0;
  let disposed = 0;
  const plugin = only("p", {}, { compile: () => (compiled++, { dispose: () => void disposed++ }) });
  const route = (uri: string): Record<string, unknown> => ({ uri, plugins: { p: { tag: 1 } }, upstream });
  const gateway = gatewayWith({ plugins: [plugin], routes: [route("/1"), route("/2")] });
  await gateway.request({ target: "/1" });
  await gateway.request({ target: "/2" });
  assert.equal(compiled, 1);
  gateway.put("route", "1", null);
  assert.equal(disposed, 0);
  gateway.put("route", "2", null);
  assert.equal(disposed, 1);
});
