import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import {
  type ConfigurationItem,
  ConfigurationReader,
  encodeConfiguration,
  KINDS,
} from "./configuration-bytes.ts";

const item: fc.Arbitrary<ConfigurationItem> = fc.record({
  kind: fc.constantFrom(...KINDS),
  id: fc.string({ unit: "grapheme", maxLength: 20 }),
  value: fc.option(fc.json()),
});

function decode(shared: SharedArrayBuffer): ConfigurationItem[] {
  const reader = new ConfigurationReader(shared);
  return Array.from({ length: reader.count }, (_, i) => {
    const { kind, id, bytes } = reader.item(i);
    return { kind, id, value: bytes === null ? null : bytes.text() };
  });
}

test("what is encoded is read back, whatever the texts", () => {
  const order = (items: ConfigurationItem[]) => items.map((item) => JSON.stringify(item)).sort();
  fc.assert(
    fc.property(fc.array(item), (items) => {
      assert.deepEqual(order(decode(encodeConfiguration(items))), order(items));
    }),
  );
});

test("items come in the order of kinds, deletions after all else and in reverse", () => {
  const put = (kind: ConfigurationItem["kind"]) => ({ kind, id: "1", value: "{}" });
  const remove = (kind: ConfigurationItem["kind"]) => ({ kind, id: "2", value: null });
  const items = [remove("upstream"), put("route"), remove("route"), put("upstream"), put("service")];
  const kinds = decode(encodeConfiguration(items)).map(({ kind, value }) =>
    value === null ? `-${kind}` : kind,
  );
  assert.deepEqual(kinds, ["upstream", "service", "route", "-route", "-upstream"]);
});

test("equal texts are equal, changed ones are not", () => {
  const read = (value: string) =>
    new ConfigurationReader(encodeConfiguration([{ kind: "route", id: "1", value }])).item(0).bytes!;
  assert.ok(read('{"a":1}').equals(read('{"a":1}')));
  assert.ok(!read('{"a":1}').equals(read('{"a":2}')));
  assert.deepEqual(read('{"a":1}').parse(), { a: 1 });
});

test("bytes that are no batch are refused", () => {
  assert.throws(() => new ConfigurationReader(new SharedArrayBuffer(64)), /not a configuration batch/);
});
