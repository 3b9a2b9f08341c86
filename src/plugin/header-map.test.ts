import assert from "node:assert/strict";
import { test } from "node:test";
import { checkHeaderMap, compileFieldValue, compileHeaderMap } from "./header-map.ts";

const reader = { variable: (name: string) => (name === "evil" ? "a\r\nX-Other: b" : undefined) };

test("a map renders its variables, and none of them can add a field", () => {
  const render = compileHeaderMap({ "X-A": "1", "X-B": 2, "X-C": "<$evil>", "X-D": "${none ?? é}" });
  assert.deepEqual(render(reader), {
    "X-A": "1",
    "X-B": "2",
    "X-C": "<a%0D%0AX-Other: b>",
    "X-D": "\xc3\xa9",
  });
});

test("a map without variables is rendered once", () => {
  const render = compileHeaderMap({ "X-A": "1" });
  assert.equal(render(reader), render(reader));
  assert.deepEqual(compileFieldValue("a\nb").render(reader), "a%0Ab");
});

test("a map that cannot be sent is refused with the reason", () => {
  assert.equal(checkHeaderMap(undefined), null);
  assert.equal(checkHeaderMap({ "X-A": "1", "X-B": 2 }), null);
  assert.equal(checkHeaderMap({ "X-A": true }), "invalid type as header value");
  assert.equal(checkHeaderMap({ "": "a" }), "invalid field length in header");
  assert.equal(checkHeaderMap({ "X A": "a" }), 'invalid header name "X A", expected a token');
});
