import assert from "node:assert/strict";
import { test } from "node:test";
import { HeaderList, internalized, lowerName } from "./headers.ts";

const NAMES = [
  "__proto__",
  "constructor",
  "hasOwnProperty",
  "toString",
  "0",
  "1000",
  "4294967294",
  "4294967295",
  "1e3",
  "-0",
  "",
  "x".repeat(30_000),
];

test("a name that means something to objects is a name like others", () => {
  for (const name of NAMES) {
    const decoded = Buffer.from(name, "latin1").toString("latin1");
    assert.equal(internalized(decoded), name);
    assert.equal(lowerName(decoded), name.toLowerCase());
  }
  const list = HeaderList.from(NAMES.map((name) => [name, `of ${name}`] as const));
  for (const name of NAMES) assert.equal(list.get(name.toLowerCase()), `of ${name}`);
});
