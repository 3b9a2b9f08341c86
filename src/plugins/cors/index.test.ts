import assert from "node:assert/strict";
import { test } from "node:test";
import { definePlugin, Type } from "../../plugin/index.ts";
import { testGateway, type TestGatewayOptions } from "../../testing/index.ts";
import cors from "./index.ts";

function gatewayWith(config: object, options: TestGatewayOptions = {}) {
  return testGateway({
    routes: [{ uri: "/*", plugins: { cors: config }, upstream: { nodes: { "a:80": 1 } } }],
    ...options,
  });
}

const A = "http://a.example";
const B = "http://b.example";
const metadata = { allow_origins: { one: "https://m.example", all: "*", force: "**" } };

for (const { config, origin, allowed, vary } of [
  { config: {}, origin: A, allowed: "*", vary: undefined },
  { config: {}, origin: undefined, allowed: "*", vary: undefined },
  { config: { allow_origins: "**" }, origin: A, allowed: A, vary: "Origin" },
  { config: { allow_origins: "**" }, origin: undefined, allowed: "*", vary: "Origin" },
  { config: { allow_origins: A }, origin: A, allowed: A, vary: "Origin" },
  { config: { allow_origins: A }, origin: B, allowed: undefined, vary: "Origin" },
  { config: { allow_origins: A }, origin: undefined, allowed: undefined, vary: "Origin" },
  { config: { allow_origins: `${A},${B}` }, origin: B, allowed: B, vary: "Origin" },
  { config: { allow_origins: `${A},${B}` }, origin: "http://c.example", allowed: undefined, vary: "Origin" },
  { config: { allow_origins: `${A},${B}` }, origin: undefined, allowed: undefined, vary: "Origin" },
  { config: { allow_origins: "null" }, origin: "null", allowed: "null", vary: "Origin" },
  { config: { allow_origins_by_regex: [".*\\.test.com$", "b\\."] }, origin: B, allowed: B, vary: undefined },
  { config: { allow_origins_by_regex: [".*\\.test.com$"] }, origin: A, allowed: undefined, vary: undefined },
  { config: { allow_origins_by_regex: ["."] }, origin: undefined, allowed: undefined, vary: undefined },
  {
    config: { allow_origins: A, allow_origins_by_regex: ["b\\."] },
    origin: A,
    allowed: undefined,
    vary: "Origin",
  },
  {
    config: { allow_origins_by_metadata: ["one"] },
    origin: "https://m.example",
    allowed: "https://m.example",
    vary: undefined,
  },
  { config: { allow_origins_by_metadata: ["one"] }, origin: A, allowed: undefined, vary: undefined },
  { config: { allow_origins_by_metadata: ["none", "all"] }, origin: A, allowed: A, vary: undefined },
  { config: { allow_origins_by_metadata: ["force"] }, origin: A, allowed: A, vary: undefined },
  { config: { allow_origins: A, allow_origins_by_metadata: ["one"] }, origin: A, allowed: A, vary: "Origin" },
]) {
  test(`${JSON.stringify(config)} answers ${origin ?? "no origin"} with ${allowed ?? "nothing"}`, async () => {
    const headers: Record<string, string> = origin === undefined ? {} : { Origin: origin };
    const answer = await gatewayWith(config, { pluginMetadata: { cors: metadata } }).request({ headers });
    assert.equal(answer.status, 200);
    assert.equal(answer.text, "upstream");
    assert.equal(answer.headers.get("access-control-allow-origin"), allowed);
    assert.equal(answer.headers.has("access-control-allow-methods"), allowed !== undefined);
    assert.equal(answer.headers.joined("vary"), vary);
  });
}

for (const { config, origin, timing } of [
  { config: {}, origin: A, timing: undefined },
  { config: { timing_allow_origins: "*" }, origin: A, timing: "*" },
  { config: { timing_allow_origins: A }, origin: A, timing: A },
  { config: { timing_allow_origins: A }, origin: B, timing: undefined },
  { config: { timing_allow_origins: `${A},${B}` }, origin: B, timing: B },
  { config: { timing_allow_origins: A, timing_allow_origins_by_regex: ["b\\."] }, origin: B, timing: B },
  {
    config: { timing_allow_origins: A, timing_allow_origins_by_regex: ["b\\."] },
    origin: A,
    timing: undefined,
  },
]) {
  test(`timings: ${JSON.stringify(config)} answers ${origin} with ${timing ?? "nothing"}`, async () => {
    const answer = await gatewayWith(config).request({ headers: { Origin: origin } });
    assert.equal(answer.headers.get("timing-allow-origin"), timing);
  });
}

test("the other fields go into the answer as they are written, and over the upstream's", async () => {
  const config = {
    allow_origins: A,
    allow_methods: "GET,POST",
    allow_headers: "X-One",
    expose_headers: "X-Two",
    max_age: 50,
    allow_credential: true,
  };
  const upstream = () => ({ headers: { "Access-Control-Max-Age": "9", Vary: "Via" } });
  const { headers } = await gatewayWith(config, { upstream }).request({ headers: { Origin: A } });
  assert.equal(headers.get("access-control-allow-methods"), "GET,POST");
  assert.equal(headers.get("access-control-allow-headers"), "X-One");
  assert.equal(headers.get("access-control-expose-headers"), "X-Two");
  assert.equal(headers.joined("access-control-max-age"), "50");
  assert.equal(headers.get("access-control-allow-credentials"), "true");
  assert.equal(headers.joined("vary"), "Via, Origin");
});

test("two stars name all methods, and the headers that are asked for", async () => {
  const config = { allow_origins: "**", allow_methods: "**", allow_headers: "**" };
  const gateway = gatewayWith(config);
  const asked = await gateway.request({
    headers: { Origin: A, "Access-Control-Request-Headers": "x-a,x-b" },
  });
  assert.match(asked.headers.get("access-control-allow-methods")!, /^GET,POST,PUT,.*TRACE$/);
  assert.equal(asked.headers.get("access-control-allow-headers"), "x-a,x-b");
  const silent = await gateway.request({ headers: { Origin: A } });
  assert.equal(silent.headers.get("access-control-allow-headers"), undefined);
});

test("OPTIONS is answered without the upstream", async () => {
  const answer = await gatewayWith({}).request({ method: "OPTIONS" });
  assert.equal(answer.status, 200);
  assert.equal(answer.text, "");
  assert.equal(answer.headers.get("access-control-allow-origin"), "*");
});

/** Stands for plugins that change the header for the upstream, or answer before `cors` has its turn. */
const meddler = definePlugin({
  name: "meddler",
  version: "1",
  priority: 100,
  config: Type.Object({ answers: Type.Boolean({ default: false }) }),
  compile: ({ answers }) => ({
    rewrite(ctx) {
      if (answers) return ctx.answer(401);
      ctx.request.headers.set("Origin", "http://changed.example");
      return undefined;
    },
  }),
});

for (const { meddling, status } of [
  { meddling: {}, status: 200 },
  { meddling: { answers: true }, status: 401 },
  { meddling: { answers: true, _meta: { priority: 9000 } }, status: 401 },
]) {
  test(`the origin is the client's with ${JSON.stringify(meddling)} beside it`, async () => {
    const plugins = { cors: { allow_origins: A }, meddler: meddling };
    const routes = [{ uri: "/*", plugins, upstream: { nodes: { "a:80": 1 } } }];
    const answer = await testGateway({ routes, plugins: [meddler] }).request({ headers: { Origin: A } });
    assert.equal(answer.status, status);
    assert.equal(answer.headers.get("access-control-allow-origin"), A);
  });
}

test("lists by name follow the metadata", async () => {
  const gateway = gatewayWith({ allow_origins_by_metadata: ["one"] });
  const allowed = async () =>
    (await gateway.request({ headers: { Origin: A } })).headers.get("access-control-allow-origin");
  assert.equal(await allowed(), undefined);
  gateway.put("plugin_metadata", "cors", { allow_origins: { one: A } });
  assert.equal(await allowed(), A);
  gateway.put("plugin_metadata", "cors", { allow_origins: { one: B } });
  assert.equal(await allowed(), undefined);
});

const standard = {
  allow_origins: A,
  allow_methods: "GET",
  allow_headers: "x",
  max_age: 5,
  allow_credential: true,
};
for (const field of [
  "allow_origins",
  "allow_methods",
  "allow_headers",
  "expose_headers",
  "timing_allow_origins",
]) {
  test(`credentials and * in ${field} are refused at write`, () => {
    assert.equal(cors.check!(standard), null);
    assert.equal(
      cors.check!({ ...standard, [field]: "*" }),
      "you can not set '*' for other option when 'allow_credential' is true",
    );
  });
}

test("patterns that cannot be used are refused at write", () => {
  assert.match(cors.check!({ ...standard, allow_origins_by_regex: ["a", "(b"] })!, /"\(b"/);
  assert.match(cors.check!({ ...standard, timing_allow_origins_by_regex: ["(b"] })!, /"\(b"/);
});
