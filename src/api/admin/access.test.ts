import assert from "node:assert/strict";
import crypto from "node:crypto";
import { syncBuiltinESMExports } from "node:module";
import { mock, test, type TestContext } from "node:test";
import type { AdminKey } from "../../config/static-config.ts";
import { AdminAccess, type Credentials } from "./access.ts";

const KEYS: readonly AdminKey[] = ["first", "second", "third", "last"].map((name) => ({
  name,
  key: `key-of-${name}-0123456789`,
  role: "admin",
  scope: null,
}));

const access = new AdminAccess({ allow: [], keyRequired: true }, KEYS);

function given(key: string): Credentials {
  return {
    method: "PUT",
    query: undefined,
    header: key,
    cookie: undefined,
    origin: undefined,
    host: "localhost",
  };
}

function nameOf(key: string): string {
  const found = access.identify(given(key));
  return "status" in found ? String(found.status) : found.name;
}

/** Lengths of what is compared in constant time, call by call; `verdict` takes the place of the result. */
function comparisons(t: TestContext, verdict?: boolean): [number, number][] {
  const seen: [number, number][] = [];
  const compare = crypto.timingSafeEqual;
  const watched = mock.method(crypto, "timingSafeEqual", (a: Buffer, b: Buffer) => {
    seen.push([a.length, b.length]);
    const isEqual = compare(a, b);
    return verdict ?? isEqual;
  });
  syncBuiltinESMExports();
  t.after(() => {
    watched.mock.restore();
    syncBuiltinESMExports();
  });
  return seen;
}

test("P12: whichever key is given, all are compared, by digests of one length", (t) => {
  const seen = comparisons(t);
  const cases = [
    ...KEYS.map(({ name, key }) => [key, name] as const),
    ["key-of-nobody-0123456789", "401"],
    ["k", "401"],
    [`${KEYS[0].key}x`, "401"],
    ["x".repeat(10_000), "401"],
  ] as const;
  for (const [key, expected] of cases) {
    seen.length = 0;
    assert.equal(nameOf(key), expected);
    assert.deepEqual(
      seen,
      KEYS.map(() => [32, 32]),
      `comparisons for ${key.slice(0, 30)}`,
    );
  }
});

test("P12: nothing but the comparison in constant time lets a key in", (t) => {
  comparisons(t, false);
  for (const { key } of KEYS) assert.equal(nameOf(key), "401");
});
