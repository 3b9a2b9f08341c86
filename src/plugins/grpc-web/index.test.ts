/** What needs no server of gRPC; calls to a real one are in `test/http2/grpc-web.test.ts`. */

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { testGateway, type UpstreamFunction } from "../../testing/index.ts";

const CALL = { method: "POST", target: "/grpc/web/a6.Routes/Get" };

function gatewayWith(config: object = {}, more: object = {}, upstream?: UpstreamFunction) {
  return testGateway({
    routes: [
      {
        uri: "/grpc/web/*",
        plugins: { "grpc-web": config, ...more },
        upstream: { scheme: "grpc", nodes: { "a:80": 1 } },
      },
    ],
    ...(upstream !== undefined && { upstream }),
  });
}

/** Status and message of the frame at the end of `body`. */
function told(body: Buffer): string {
  const at = body.lastIndexOf(0x80);
  assert.equal(body.readUInt32BE(at + 1), body.length - at - 5);
  return body.subarray(at + 5).toString("latin1");
}

describe("pages of other origins", () => {
  test("are told by OPTIONS what they may send", async () => {
    const answer = await gatewayWith().request({ ...CALL, method: "OPTIONS" });
    assert.equal(answer.status, 204);
    assert.equal(answer.headers.get("access-control-allow-methods"), "POST");
    assert.equal(answer.headers.get("access-control-allow-headers"), "content-type,x-grpc-web,x-user-agent");
    assert.equal(answer.headers.get("access-control-allow-origin"), "*");
    assert.equal(answer.headers.get("access-control-expose-headers"), "grpc-message,grpc-status");
  });

  test("may send the headers that the configuration names", async () => {
    const gateway = gatewayWith({ cors_allow_headers: "grpc-accept-encoding" });
    const answer = await gateway.request({ ...CALL, method: "OPTIONS" });
    assert.equal(answer.headers.get("access-control-allow-headers"), "grpc-accept-encoding");
  });

  test("may read what `cors` lets them read, and no more", async () => {
    const gateway = gatewayWith({}, { cors: { allow_origins: "http://a.com" } });
    const ask = async (origin: string) => {
      const headers = { "Content-Type": "application/grpc-web", Origin: origin };
      const answer = await gateway.request({ ...CALL, headers });
      return answer.headers.get("access-control-allow-origin");
    };
    assert.equal(await ask("http://a.com"), "http://a.com");
    assert.equal(await ask("http://b.com"), undefined);
  });
});

describe("what is no call", () => {
  for (const { request, status } of [
    { request: { ...CALL, method: "GET" }, status: 405 },
    { request: { ...CALL, body: "{}", headers: { "Content-Type": "application/json" } }, status: 400 },
    { request: { ...CALL, headers: { "Content-Type": "application/grpc" } }, status: 400 },
    { request: { ...CALL, headers: { "Content-Type": "application/grpc-webber" } }, status: 400 },
    { request: CALL, status: 400 },
  ])
    test(`is refused: ${request.method} ${JSON.stringify(request)}`, async () => {
      const answer = await gatewayWith().request(request);
      assert.equal(answer.status, status);
      assert.equal(answer.headers.get("content-type"), "text/html");
      assert.equal(answer.headers.get("access-control-allow-origin"), "*");
    });
});

describe("a call", () => {
  for (const [contentType, grpcType] of [
    ["application/grpc-web", "application/grpc"],
    ["application/grpc-web-text", "application/grpc"],
    ["application/grpc-web+proto", "application/grpc+proto"],
    ["application/grpc-web-text+proto; charset=utf-8", "application/grpc+proto"],
  ])
    test(`of type ${contentType} goes on as ${grpcType}, and its answer comes back as the former`, async () => {
      const gateway = gatewayWith({}, {}, ({ target, headers }) => ({
        headers: {
          "content-type": "application/grpc",
          "x-got": `${target} ${headers.get("content-type")} ${headers.get("te")}`,
        },
      }));
      const answer = await gateway.request({ ...CALL, body: "", headers: { "Content-Type": contentType } });
      assert.equal(answer.status, 200);
      assert.equal(answer.headers.get("x-got"), `/a6.Routes/Get ${grpcType} trailers`);
      assert.equal(answer.headers.get("content-type"), contentType);
      assert.match(
        contentType.includes("-text") ? told(Buffer.from(answer.text, "base64")) : answer.text,
        /grpc-status:2\r\ngrpc-message:upstream grpc status not received\r\n$/,
      );
    });

  test("written in base64 goes on in bytes", async () => {
    const gateway = gatewayWith({}, {}, ({ body }) => ({
      headers: { "content-type": "application/grpc", "x-got": body.toString("hex"), "grpc-status": "0" },
    }));
    const answer = await gateway.request({
      ...CALL,
      body: "AAAAAAcKBXdvcmxkCgo=",
      headers: { "Content-Type": "application/grpc-web-text" },
    });
    assert.equal(answer.headers.get("x-got"), "00000000070a05776f726c640a0a");
    assert.equal(answer.text, "");
  });

  test("keeps its path where the route's path has no `*` at its end, or a plugin has set another", async () => {
    const upstream: UpstreamFunction = ({ target }) => ({ headers: { "x-got": target } });
    const plugins = { "grpc-web": {} };
    const gateway = testGateway({
      upstream,
      routes: [
        { uri: "/a6.Routes/Get", plugins, upstream: { nodes: { "a:80": 1 } } },
        {
          uri: "/x/*",
          plugins: { ...plugins, "proxy-rewrite": { uri: "/y.Y/Z" } },
          upstream: { nodes: { "a:80": 1 } },
        },
        { uri: "/*", plugins, upstream: { nodes: { "a:80": 1 } } },
      ],
    });
    const got: (string | undefined)[] = [];
    for (const target of ["/a6.Routes/Get", "/x/a6.Routes/Get", "/b.C/D"]) {
      const headers = { "Content-Type": "application/grpc-web" };
      got.push((await gateway.request({ method: "POST", target, headers })).headers.get("x-got"));
    }
    assert.deepEqual(got, ["/a6.Routes/Get", "/y.Y/Z", "/b.C/D"]);
  });

  for (const { why, body, grpc } of [
    { why: "that is too long", body: "x".repeat(11), grpc: "8" },
    { why: "whose base64 is none", body: "hello", grpc: "13" },
    { why: "whose base64 has other characters", body: "a-b_", grpc: "13" },
  ])
    test(`${why} is refused in gRPC's words`, async () => {
      const gateway = gatewayWith({ max_req_body_size: 10 });
      const headers = { "Content-Type": "application/grpc-web-text" };
      const answer = await gateway.request({ ...CALL, headers, body });
      assert.equal(answer.status, 200);
      assert.equal(answer.headers.get("content-type"), "application/grpc-web-text");
      assert.equal(answer.headers.get("grpc-status"), grpc);
      assert.equal(answer.text, "");
    });

  test("that another plugin refuses is told so in gRPC's words", async () => {
    const answer = await gatewayWith({}, { "key-auth": {} }).request({
      ...CALL,
      headers: { "Content-Type": "application/grpc-web+proto" },
    });
    assert.equal(answer.status, 200);
    assert.equal(answer.headers.get("content-type"), "application/grpc-web+proto");
    assert.equal(answer.headers.get("grpc-status"), "16");
    assert.equal(answer.headers.get("grpc-message"), "Missing API key in request");
    assert.equal(answer.headers.get("access-control-allow-origin"), "*");
    assert.equal(answer.text, "");
  });

  test("that is sent elsewhere keeps the status that browsers follow", async () => {
    const answer = await gatewayWith({}, { redirect: { uri: "/b", ret_code: 308 } }).request({
      ...CALL,
      headers: { "Content-Type": "application/grpc-web" },
    });
    assert.equal(answer.status, 308);
  });

  test("answered by something else than gRPC is told so, without its body", async () => {
    const gateway = gatewayWith({}, {}, () => ({
      status: 503,
      body: "<html>",
      headers: { "content-type": "text/html" },
    }));
    const headers = { "Content-Type": "application/grpc-web-text" };
    const answer = await gateway.request({ ...CALL, headers });
    assert.equal(
      told(Buffer.from(answer.text, "base64")),
      "grpc-status:14\r\ngrpc-message:upstream grpc status not received\r\n",
    );
  });
});
