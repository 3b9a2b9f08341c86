import assert from "node:assert/strict";
import { once } from "node:events";
import { connect, createServer, type IncomingHttpHeaders } from "node:http2";
import { request } from "node:http";
import type { AddressInfo } from "node:net";
import { describe, test, type TestContext } from "node:test";
import {
  Metadata,
  Server,
  ServerCredentials,
  status,
  type sendUnaryData,
  type ServerUnaryCall,
  type UntypedServiceImplementation,
} from "@grpc/grpc-js";
import protobufjs from "protobufjs";
import { eventually, wired, type Wired } from "../../data/wire-test-kit.ts";
import { compileProto } from "../../model/proto/compile.ts";

const PROTO = `syntax = "proto3";
  package helloworld;
  service Greeter {
    rpc SayHello (HelloRequest) returns (HelloReply) {}
    rpc Plus (PlusRequest) returns (PlusReply) {}
    rpc Hangs (HelloRequest) returns (HelloReply) {}
    rpc Fails (HelloRequest) returns (HelloReply) {}
    rpc FailsLate (HelloRequest) returns (HelloReply) {}
    rpc Talks (stream HelloRequest) returns (stream HelloReply) {}
  }
  enum Gender { GENDER_UNKNOWN = 0; GENDER_MALE = 1; GENDER_FEMALE = 2; }
  message Person { string name = 1; int32 age = 2; }
  message HelloRequest {
    string name = 1;
    repeated string items = 2;
    Gender gender = 3;
    Person person = 4;
    repeated Person persons = 5;
    map<string, int32> counts = 6;
    bytes raw = 7;
  }
  message HelloReply {
    string message = 1;
    repeated string items = 2;
    Gender gender = 3;
    Person person = 4;
    repeated Person persons = 5;
    map<string, int32> counts = 6;
    bytes raw = 7;
  }
  message PlusRequest { int64 a = 1; int64 b = 2; }
  message PlusReply { int64 result = 1; }
  message ErrorDetail { int64 code = 1; string message = 2; string type = 3; }`;

/** google.rpc.Status with one ErrorDetail, as a server of APISIX's own tests sends it. */
const DETAILS =
  "CA4SDk91dCBvZiBzZXJ2aWNlGlcKKnR5cGUuZ29vZ2xlYXBpcy5jb20vaGVsbG93b3JsZC5FcnJvckRldGFpbBIpCAESHFRoZSBzZXJ2ZXIgaXMgb3V0IG9mIHNlcnZpY2UaB3NlcnZpY2U=";

/** The origin's own reading of messages, by another library. */
const { root } = protobufjs.parse(PROTO, { keepCase: true });
const codec = (name: string): protobufjs.Type => root.lookupType(`helloworld.${name}`);

type Call = ServerUnaryCall<Buffer, Buffer>;
type Done = sendUnaryData<Buffer>;

interface Origin {
  port: number;
  cancelled(): number;
  metadata(): Metadata | null;
  deadline(): unknown;
}

async function origin(t: TestContext): Promise<Origin> {
  const server = new Server();
  let cancelled = 0;
  let metadata: Metadata | null = null;
  let deadline: unknown = null;
  const same = (value: Buffer): Buffer => value;
  const method = (name: string) => ({
    path: `/helloworld.Greeter/${name}`,
    requestStream: false,
    responseStream: false,
    requestSerialize: same,
    requestDeserialize: same,
    responseSerialize: same,
    responseDeserialize: same,
  });
  const fault = (): Metadata => {
    const trailers = new Metadata();
    trailers.set("grpc-status-details-bin", Buffer.from(DETAILS, "base64"));
    return trailers;
  };
  const implementation: UntypedServiceImplementation = {
    SayHello: (call: Call, done: Done) => {
      metadata = call.metadata;
      deadline = call.getDeadline();
      const { name, ...rest } = codec("HelloRequest").toObject(codec("HelloRequest").decode(call.request));
      done(null, encoded("HelloReply", { message: `Hello ${name ?? ""}`, ...rest }));
    },
    Plus: ({ request: body }: Call, done: Done) => {
      const { a, b } = codec("PlusRequest").toObject(codec("PlusRequest").decode(body), {
        longs: String,
        defaults: true,
      });
      done(null, encoded("PlusReply", { result: String(BigInt(a as string) + BigInt(b as string)) }));
    },
    Hangs: (call: Call) => call.on("cancelled", () => cancelled++),
    Fails: (_: Call, done: Done) =>
      done({ code: status.UNAVAILABLE, details: "Out of service", metadata: fault() }),
    FailsLate: (call: Call, done: Done) => {
      call.sendMetadata(new Metadata());
      done({ code: status.NOT_FOUND, details: "no such one, été" });
    },
  };
  const names = Object.keys(implementation);
  server.addService(Object.fromEntries(names.map((name) => [name, method(name)])), implementation);
  const port = await new Promise<number>((resolve, reject) =>
    server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    ),
  );
  t.after(() => server.forceShutdown());
  return { port, cancelled: () => cancelled, metadata: () => metadata, deadline: () => deadline };
}

function encoded(name: string, value: object): Buffer {
  const type = codec(name);
  return Buffer.from(type.encode(type.fromObject(value)).finish());
}

interface Reply {
  status: number;
  headers: IncomingHttpHeaders;
  text: string;
}

/** A gateway before `port` whose one route has the plugin. */
async function gateway(t: TestContext, port: number, config: object = {}, more: object = {}): Promise<Wired> {
  const plugin = {
    proto_id: "1",
    service: "helloworld.Greeter",
    method: "SayHello",
    deadline: 0,
    pb_option: ["enum_as_name", "int64_as_number", "auto_default_values", "disable_hooks"],
    show_status_in_body: false,
    max_resp_body_size: 67_108_864,
    ...config,
  };
  const upstream = { scheme: "grpc", nodes: { [`127.0.0.1:${port}`]: 1 }, ...more };
  const gate = await wired(t, { routes: [{ uri: "/*", plugins: { "grpc-transcode": plugin }, upstream }] });
  gate.put("proto", "1", { content: PROTO });
  return gate;
}

interface Ask {
  method?: string;
  target?: string;
  body?: string;
  type?: string;
}

function ask(gate: Wired, { method = "GET", target = "/", body = "", type }: Ask): Promise<Reply> {
  const headers = {
    "content-length": Buffer.byteLength(body),
    ...(type !== undefined && { "content-type": type }),
  };
  return new Promise((resolve, reject) => {
    const asked = request({
      port: gate.port,
      host: "127.0.0.1",
      method,
      path: target,
      headers,
      agent: false,
    });
    asked.on("error", reject);
    asked.on("response", (reply) => {
      const chunks: Buffer[] = [];
      reply.on("data", (chunk: Buffer) => chunks.push(chunk));
      reply.on("error", reject);
      reply.on("end", () =>
        resolve({
          status: reply.statusCode!,
          headers: reply.headers,
          text: Buffer.concat(chunks).toString(),
        }),
      );
    });
    asked.end(body);
  });
}

const json = (body: unknown, method = "POST"): Ask => ({
  method,
  body: typeof body === "string" ? body : JSON.stringify(body),
  type: "application/json; charset=utf-8",
});

const EMPTY = { items: [], gender: "GENDER_UNKNOWN", persons: [], counts: {}, raw: "" };

describe("requests become calls", () => {
  for (const { name, asked, reply } of [
    { name: "a query", asked: { target: "/?name=w%C3%A9rld" }, reply: { message: "Hello wérld", ...EMPTY } },
    {
      name: "a query with lists, enums and members that nobody knows",
      asked: { target: "/?name=x&items=a&items=b&gender=GENDER_MALE&other=1&raw=abc" },
      reply: { ...EMPTY, message: "Hello x", items: ["a", "b"], gender: "GENDER_MALE", raw: "abc" },
    },
    {
      name: "a form",
      asked: { method: "POST", body: "name=a+b&items=one", type: "application/x-www-form-urlencoded" },
      reply: { ...EMPTY, message: "Hello a b", items: ["one"] },
    },
    {
      name: "a POST without a type",
      asked: { method: "POST", target: "/?name=no", body: "name=world" },
      reply: { message: "Hello world", ...EMPTY },
    },
    {
      name: "JSON with members of all kinds",
      asked: json({
        name: "world",
        items: ["a", 1],
        gender: 2,
        person: { name: "Joe" },
        persons: [{ name: "Jake", age: "2" }, {}],
        counts: { x: 1, __proto__: 2 },
        raw: "é",
      }),
      reply: {
        message: "Hello world",
        items: ["a", "1"],
        gender: "GENDER_FEMALE",
        person: { name: "Joe", age: 0 },
        persons: [
          { name: "Jake", age: 2 },
          { name: "", age: 0 },
        ],
        counts: { x: 1 },
        raw: "é",
      },
    },
    { name: "JSON in a PUT", asked: json({ name: "put" }, "PUT"), reply: { message: "Hello put", ...EMPTY } },
    { name: "null, which is nothing", asked: json({ name: null }), reply: { message: "Hello ", ...EMPTY } },
    { name: "an empty body", asked: json(""), reply: { message: "Hello ", ...EMPTY } },
  ] as { name: string; asked: Ask; reply: object }[]) {
    test(name, async (t) => {
      const gate = await gateway(t, (await origin(t)).port);
      const { status: code, headers, text } = await ask(gate, asked);
      assert.equal(code, 200, text);
      assert.equal(headers["content-type"], "application/json");
      assert.equal(headers["grpc-status"], "0");
      assert.deepEqual(JSON.parse(text), reply);
    });
  }

  for (const { name, asked, error } of [
    { name: "a wrong kind", asked: json({ person: "Joe" }), error: 'person: expected an object, got "Joe"' },
    {
      name: "an unknown value of an enum",
      asked: json({ gender: "GENDER_MA" }),
      error: 'gender: expected a value of helloworld.Gender, got "GENDER_MA"',
    },
    {
      name: "something wrong deep inside",
      asked: json({ persons: [{}, { age: 1.5 }] }),
      error: "persons[1].age: expected a whole number, got 1.5",
    },
    { name: "a number out of range", asked: json({ person: { age: 2 ** 31 } }), error: "person.age: " },
    {
      name: "two values for one",
      asked: { target: "/?name=a&name=b" },
      error: "name: expected text, got a list",
    },
    { name: "half a body", asked: json('{"name":'), error: "the body is no JSON: " },
    {
      name: "one element too many",
      asked: json(`{"persons":[${"{},".repeat(70_000)}{}]}`),
      error: "persons[62498]: more than 250000 fields and elements of lists",
    },
    {
      name: "one argument too many",
      asked: { method: "POST", body: "a&".repeat(1000) },
      error: "more than 1000 arguments",
    },
    { name: "a list as the body", asked: json([1]), error: "the body: expected an object of JSON" },
  ] as { name: string; asked: Ask; error: string }[]) {
    test(`${name} is told with its place`, async (t) => {
      const gate = await gateway(t, (await origin(t)).port);
      const reply = await ask(gate, asked);
      assert.equal(reply.status, 400);
      const { error_msg: told } = JSON.parse(reply.text) as { error_msg: string };
      assert.ok(told.startsWith(`failed to encode request data to protobuf: ${error}`), told);
    });
  }

  test("clients of HTTP/2 are answered likewise, and HEAD without a body", async (t) => {
    const gate = await gateway(t, (await origin(t)).port, { pb_option: ["no_default_values"] });
    const session = connect(`http://127.0.0.1:${gate.port}`);
    t.after(() => session.destroy());
    const stream = session.request({ ":path": "/?name=x" });
    stream.setEncoding("utf8");
    const [headers] = (await once(stream, "response")) as [IncomingHttpHeaders];
    assert.equal(headers[":status"], 200);
    assert.deepEqual(await stream.toArray(), ['{"message":"Hello x"}']);
    const reply = await ask(gate, { method: "HEAD", target: "/?name=x" });
    assert.equal(reply.status, 200);
    assert.equal(reply.text, "");
  });

  test("a body beyond 4 MiB is refused", async (t) => {
    const gate = await gateway(t, (await origin(t)).port);
    const reply = await ask(gate, json({ name: "a".repeat(4 * 1024 ** 2) }));
    assert.equal(reply.status, 413);
  });

  test("the upstream gets the headers of the request, and the time that it has", async (t) => {
    const from = await origin(t);
    const gate = await gateway(t, from.port, { deadline: 40_000.5 });
    assert.equal((await ask(gate, { target: "/?name=x" })).status, 200);
    const metadata = from.metadata()!;
    assert.deepEqual(metadata.get("x-forwarded-host"), [`127.0.0.1:${gate.port}`]);
    assert.ok(Number(from.deadline()) < Infinity, "the upstream knows of a deadline");
  });

  test("a node that cannot be reached is followed by the next one", async (t) => {
    const from = await origin(t);
    const gate = await gateway(
      t,
      from.port,
      {},
      { nodes: { "127.0.0.1:1": 1000, [`127.0.0.1:${from.port}`]: 1 } },
    );
    const reply = await ask(gate, json({ name: "again" }));
    assert.equal((JSON.parse(reply.text) as { message: string }).message, "Hello again");
    assert.equal(gate.ended[0].attempts, 2);
  });
});

describe("answers become JSON", () => {
  for (const { options, target, text } of [
    { options: ["int64_as_string"], target: "/?a=1&b=2", text: '{"result":3}' },
    {
      options: ["int64_as_string"],
      target: "/?a=1&b=2251799813685260",
      text: '{"result":"#2251799813685261"}',
    },
    { options: ["int64_as_string"], target: "/?a=-1&b=-4294967296", text: '{"result":"#-4294967297"}' },
    {
      options: ["int64_as_hexstring"],
      target: "/?a=1&b=2251799813685260",
      text: '{"result":"#0x800000000000D"}',
    },
    {
      options: ["int64_as_hexstring"],
      target: "/?a=%23-0x1F&b=-4294967296",
      text: '{"result":"#-0x10000001F"}',
    },
    { options: ["enum_as_name"], target: "/?a=9007199254740993&b=0", text: '{"result":9007199254740993}' },
    { options: ["enum_as_name"], target: "/", text: '{"result":0}' },
    { options: ["no_default_values"], target: "/", text: "{}" },
    { options: ["use_default_metatable"], target: "/", text: "{}" },
    { options: ["use_default_values"], target: "/", text: '{"result":0}' },
  ]) {
    test(`${options.join(" ")} makes ${text} of ${target}`, async (t) => {
      const gate = await gateway(t, (await origin(t)).port, { method: "Plus", pb_option: options });
      assert.equal((await ask(gate, { target })).text, text);
    });
  }

  test("numbers of JSON keep all their digits", async (t) => {
    const gate = await gateway(t, (await origin(t)).port, { method: "Plus" });
    const reply = await ask(gate, json('{"a": 9223372036854775806, "b": 1}'));
    assert.equal(reply.text, '{"result":9223372036854775807}');
  });

  test("enums are numbers on demand, and bytes that are no text become base64", async (t) => {
    const gate = await gateway(t, (await origin(t)).port, {
      pb_option: ["enum_as_value", "no_default_values"],
    });
    assert.equal((await ask(gate, json({ gender: "GENDER_MALE" }))).text, '{"message":"Hello ","gender":1}');
    const bytes = await bytesGateway(t);
    assert.equal((await ask(bytes, {})).text, '{"raw":"/w=="}');
  });
});

/** Before an origin whose answer has one byte that is no UTF-8. */
async function bytesGateway(t: TestContext): Promise<Wired> {
  const body = Buffer.concat([Buffer.from([0, 0, 0, 0, 3]), Buffer.from([0x3a, 1, 0xff])]);
  return await gateway(t, await rawOrigin(t, body), { pb_option: ["no_default_values"] });
}

/** Answers everything with this body. */
async function rawOrigin(
  t: TestContext,
  body: Buffer,
  type = "application/grpc",
  trailers: Record<string, string> = { "grpc-status": "0", "x-more": "1" },
): Promise<number> {
  const server = createServer();
  server.on("stream", (stream) => {
    stream.on("error", () => undefined);
    stream.respond({ ":status": 200, "content-type": type }, { waitForTrailers: true });
    stream.on("wantTrailers", () => stream.sendTrailers(trailers));
    stream.end(body);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => server.close());
  return (server.address() as AddressInfo).port;
}

describe("calls that fail", () => {
  const FIELDS = { "grpc-status": "14", "grpc-message": "Out%20of%20service" };

  for (const { config, body } of [
    { config: {}, body: "" },
    {
      config: { show_status_in_body: true },
      body: {
        error: {
          code: 14,
          message: "Out of service",
          details: [
            {
              type_url: "type.googleapis.com/helloworld.ErrorDetail",
              value: "\b\u0001\u0012\u001cThe server is out of service\u001a\u0007service",
            },
          ],
        },
      },
    },
    {
      config: { show_status_in_body: true, status_detail_type: "helloworld.ErrorDetail" },
      body: {
        error: {
          code: 14,
          message: "Out of service",
          details: [{ code: 1, message: "The server is out of service", type: "service" }],
        },
      },
    },
  ]) {
    test(`${JSON.stringify(config)}: their status is that of HTTP`, async (t) => {
      const gate = await gateway(t, (await origin(t)).port, { method: "Fails", ...config });
      const reply = await ask(gate, { target: "/?name=x" });
      assert.equal(reply.status, 503);
      assert.deepEqual({ ...reply.headers, ...FIELDS }, reply.headers);
      assert.equal(
        reply.headers["grpc-status-details-bin"]?.toString().replace(/=+$/, ""),
        DETAILS.slice(0, -1),
      );
      assert.deepEqual(body === "" ? reply.text : JSON.parse(reply.text), body);
    });
  }

  test("details that are not what the configuration says stay as they are, and the log says so", async (t) => {
    const config = { method: "Fails", show_status_in_body: true };
    for (const type of ["helloworld.error", "helloworld.Person"]) {
      const gate = await gateway(t, (await origin(t)).port, { ...config, status_detail_type: type });
      const reply = await ask(gate, {});
      assert.equal(reply.status, 503);
      const { error } = JSON.parse(reply.text) as { error: { details: { type_url: string }[] } };
      assert.equal(error.details[0].type_url, "type.googleapis.com/helloworld.ErrorDetail");
    }
    const trailers = { "grpc-status": "5", "grpc-status-details-bin": "/////w==" };
    const gate = await gateway(t, await rawOrigin(t, Buffer.alloc(0), undefined, trailers), config);
    const reply = await ask(gate, {});
    assert.equal(reply.status, 404);
    assert.deepEqual(JSON.parse(reply.text), { error: { code: 5, message: "", details: [] } });
  });

  test("their status may come after the head", async (t) => {
    const gate = await gateway(t, (await origin(t)).port, { method: "FailsLate", show_status_in_body: true });
    const reply = await ask(gate, {});
    assert.equal(reply.status, 404);
    assert.equal(reply.headers["grpc-status"], "5");
    assert.deepEqual(JSON.parse(reply.text), {
      error: { code: 5, message: "no such one, été", details: [] },
    });
  });

  test("a deadline ends them with 504, and the upstream's work with them", async (t) => {
    const from = await origin(t);
    const gate = await gateway(t, from.port, { method: "Hangs", deadline: 1000 });
    const reply = await ask(gate, {});
    assert.equal(reply.status, 504);
    assert.equal(reply.headers["grpc-status"], "4");
    await eventually(() => from.cancelled() === 1);
  });

  test("an upstream that cannot be reached is 502 as for any request, over HTTP/2 too", async (t) => {
    const gate = await gateway(t, 1);
    assert.equal((await ask(gate, {})).status, 502);
    const session = connect(`http://127.0.0.1:${gate.port}`);
    t.after(() => session.destroy());
    const stream = session.request({ ":path": "/?name=x" });
    stream.resume();
    const [headers] = (await once(stream, "response")) as [IncomingHttpHeaders];
    assert.equal(headers[":status"], 502);
    assert.equal(headers["grpc-status"], undefined);
  });

  for (const { name, body, type, error } of [
    { name: "no message", body: Buffer.alloc(0), error: "an answer without a message" },
    {
      name: "half a message",
      body: Buffer.from([0, 0, 0, 0, 9, 1]),
      error: "a message of 9 bytes in a body of 6",
    },
    { name: "a compressed message", body: Buffer.from([1, 0, 0, 0, 0]), error: "a message in a compression" },
    { name: "another message", body: Buffer.from([0, 0, 0, 0, 2, 0x0a, 9]), error: "" },
    { name: "a page", body: Buffer.from("hi"), type: "text/html", error: 'its content type is "text/html"' },
  ]) {
    test(`an answer with ${name} is 502`, async (t) => {
      const reply = await ask(await gateway(t, await rawOrigin(t, body, type)), {});
      assert.equal(reply.status, 502);
      const { error_msg: told } = JSON.parse(reply.text) as { error_msg: string };
      assert.ok(told.startsWith(`the upstream's answer cannot be read: ${error}`), told);
    });
  }

  test("an answer beyond max_resp_body_size is 502", async (t) => {
    const gate = await gateway(t, (await origin(t)).port, { max_resp_body_size: 100_000 });
    assert.equal((await ask(gate, json({ name: "a".repeat(99_900) }))).status, 200);
    const reply = await ask(gate, json({ name: "a".repeat(1_000_000) }));
    assert.equal(reply.status, 502);
    assert.deepEqual(JSON.parse(reply.text), {
      error_msg: "the upstream's answer is longer than 100000 bytes",
    });
    assert.equal((await ask(gate, { target: "/?name=x" })).status, 200);
    await eventually(() => gate.inFlight() === 0);
  });

  test("an upstream that breaks off in the middle of an answer is 502", async (t) => {
    const server = createServer();
    server.on("stream", (stream) => {
      stream.on("error", () => undefined);
      stream.respond({ ":status": 200, "content-type": "application/grpc" });
      stream.write(Buffer.from([0, 0, 0, 0, 9, 1]), () => stream.close(2));
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    t.after(() => server.close());
    const gate = await gateway(t, (server.address() as AddressInfo).port);
    assert.equal((await ask(gate, {})).status, 502);
    await eventually(() => gate.inFlight() === 0);
  });
});

describe("protos", () => {
  for (const { config, error } of [
    { config: { proto_id: 2 }, error: 'there is no proto "2"' },
    { config: { service: "helloworld.Greeterx" }, error: 'proto 1 has no service "helloworld.Greeterx"' },
    {
      config: { method: "SayHellox" },
      error: 'service helloworld.Greeter of proto 1 has no method "SayHellox"',
    },
    {
      config: { method: "Talks" },
      error: "method helloworld.Greeter/Talks of proto 1: expected one without streams",
    },
  ]) {
    test(`${JSON.stringify(config)} is 503`, async (t) => {
      const gate = await gateway(t, 1, config);
      const reply = await ask(gate, {});
      assert.equal(reply.status, 503);
      assert.deepEqual(JSON.parse(reply.text), { error_msg: `grpc-transcode: ${error}` });
      assert.ok(gate.logged.some((line) => line.includes("no such call")));
    });
  }

  test("changes of a proto hold from the next request on, each route's own", async (t) => {
    const gate = await gateway(t, (await origin(t)).port);
    gate.put("proto", "2", { content: PROTO.replace("string name = 1; int32", "int32 name = 1; int32") });
    const asked = json({ name: "x", person: { name: "Joe" } });
    assert.equal((await ask(gate, asked)).status, 200);
    gate.put("proto", "1", {
      content: compileProto(PROTO.replace("Person person = 4;", "string person = 4;")),
    });
    const reply = await ask(gate, asked);
    assert.equal(reply.status, 400);
    assert.match(reply.text, /person: expected text, got an object/);
    gate.put("proto", "1", null);
    assert.equal((await ask(gate, asked)).status, 503);
    gate.put("proto", "1", { content: PROTO });
    assert.equal((await ask(gate, asked)).status, 200);
  });
});
