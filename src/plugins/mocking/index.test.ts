import assert from "node:assert/strict";
import { mock, test } from "node:test";
import { testGateway } from "../../testing/index.ts";
import { VERSION } from "../../lib/version.ts";
import mocking from "./index.ts";
import { compileSample, MAX_VALUES } from "./sample.ts";
import { toXml } from "./xml.ts";

function gatewayWith(config: object) {
  return testGateway({ routes: [{ id: "r", uri: "/*", plugins: { mocking: config } }] });
}

const object = (properties: object) => ({ type: "object", properties });

for (const { config, text } of [
  { config: { response_example: "hello world" }, text: "hello world" },
  { config: { response_example: "from $remote_addr, $foo" }, text: "from 127.0.0.1, " },
  { config: { response_example: "", response_schema: object({}) }, text: "" },
  { config: { response_schema: object({ f: { type: "string", example: "hello" } }) }, text: '{"f":"hello"}' },
  {
    config: { response_schema: object({ f: { type: "string", example: 'on "$route_id"' } }) },
    text: '{"f":"on \\"r\\""}',
  },
  { config: { response_schema: object({ f: { type: "Integer", example: 4.7 } }) }, text: '{"f":4}' },
  { config: { response_schema: object({ f: { type: "number", example: 5.5 } }) }, text: '{"f":5.5}' },
  { config: { response_schema: object({ f: { type: "boolean", example: true } }) }, text: '{"f":true}' },
  { config: { response_schema: object({ f: { type: "object" } }) }, text: '{"f":{}}' },
  { config: { response_schema: object({ f: { type: "array" } }) }, text: "{}" },
  {
    config: {
      content_type: "application/xml;charset=utf8",
      response_schema: object({
        f: { type: "string", example: "a<b" },
        g: object({ h: { type: "number", example: 1 } }),
      }),
    },
    text: "<data>\n  <f>a&lt;b</f>\n  <g>\n    <h>1</h>\n  </g>\n</data>",
  },
]) {
  test(`${JSON.stringify(config)} answers ${text}`, async () => {
    assert.equal((await gatewayWith(config).request()).text, text);
  });
}

test("status, content type and fields are those of the configuration", async () => {
  const standard = await gatewayWith({ response_example: "x" }).request();
  assert.equal(standard.status, 200);
  assert.equal(standard.headers.get("content-type"), "application/json;charset=utf8");
  assert.equal(standard.headers.get("x-mock-by"), `Cardea/${VERSION}`);

  const own = await gatewayWith({
    response_example: "x",
    response_status: 503,
    content_type: "text/html",
    with_mock_header: false,
    response_headers: { "X-Route": "$route_id", "X-Count": 3 },
  }).request();
  assert.equal(own.status, 503);
  assert.equal(own.headers.get("content-type"), "text/html");
  assert.equal(own.headers.get("x-mock-by"), undefined);
  assert.equal(own.headers.get("x-route"), "r");
  assert.equal(own.headers.get("x-count"), "3");
});

test("an answer waits for its delay", async () => {
  mock.timers.enable({ apis: ["setTimeout"] });
  try {
    const answer = gatewayWith({ response_example: "x", delay: 2 }).request();
    let hasAnswered = false;
    void answer.then(() => (hasAnswered = true));
    mock.timers.tick(1999);
    await new Promise(setImmediate);
    assert.equal(hasAnswered, false);
    mock.timers.tick(1);
    assert.equal((await answer).text, "x");
  } finally {
    mock.timers.reset();
  }
});

test("a client that leaves takes its timer along", async () => {
  const timers = () => process.getActiveResourcesInfo().filter((kind) => kind === "Timeout").length;
  const before = timers();
  const leaving = new AbortController();
  const answer = gatewayWith({ response_example: "x", delay: 5 }).request({}, leaving.signal);
  assert.equal(timers(), before + 1);
  leaving.abort();
  assert.equal(timers(), before);
  assert.equal((await answer).isAborted, true);
});

test("random values are of their type", () => {
  const properties = {
    s: { type: "string" },
    n: { type: "number" },
    i: { type: "integer" },
    b: { type: "boolean" },
    a: { type: "array", items: { type: "integer" } },
  };
  const sample = compileSample(object(properties))({ variable: () => undefined });
  assert.match(sample["s"] as string, /^[a-z]{1,10}$/);
  assert.equal(typeof sample["n"], "number");
  assert.ok(Number.isInteger(sample["i"]));
  assert.equal(typeof sample["b"], "boolean");
  const array = sample["a"] as number[];
  assert.ok(array.length >= 1 && array.length <= 3 && array.every(Number.isInteger));
});

test("nested arrays end at the bound of a sample", () => {
  let schema: object = { type: "integer", example: 1 };
  for (let depth = 0; depth < 12; depth++) schema = { type: "array", items: schema };
  const random = mock.method(Math, "random", () => 0.99);
  try {
    const sample = compileSample(object({ a: schema }))({ variable: () => undefined });
    const numbers = JSON.stringify(sample).match(/1/g) ?? [];
    assert.ok(numbers.length > 1000 && numbers.length < MAX_VALUES);
  } finally {
    random.mock.restore();
  }
});

test("an array repeats its element in XML", () => {
  assert.equal(toXml({ a: [1, 2], b: {} }, "data"), "<data>\n  <a>1</a>\n  <a>2</a>\n  <b></b>\n</data>");
});

test("what cannot be answered with is refused at write", () => {
  const valid = {
    delay: 0,
    response_status: 200,
    content_type: "application/json",
    response_example: "x",
    with_mock_header: true,
  };
  const { response_example: _, ...random } = valid;
  assert.equal(mocking.check!(valid), null);
  assert.equal(mocking.check!({ ...valid, content_type: "image/png" }), "unsupported content type!");
  assert.match(mocking.check!({ ...valid, response_status: 101 })!, /response_status/);
  assert.match(mocking.check!({ ...valid, response_headers: { "a b": "c" } })!, /"a b"/);
  assert.match(
    mocking.check!({ ...random, response_schema: object({ f: {} }) })!,
    /^response_schema\.properties\.f\.type is absent, expected string/,
  );
  assert.match(
    mocking.check!({ ...random, content_type: "text/html", response_schema: object({}) })!,
    /only support xml and json/,
  );
});
