/** Which fields are changed on the way into the store and out of it. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { Type } from "../lib/schema.ts";
import { EncryptedFields } from "./encrypted-fields.ts";
import { resourceType } from "./resources.ts";

const plugin = {
  name: "p",
  config: Type.Object({}),
  encrypted: ["secret", "auth.header", "instances.auth.key", "absent.path"],
};
const catalog = { get: (name: string) => (name === "p" ? plugin : undefined) };
const cipher = {
  encrypt: (text: string) => `<${text}>`,
  decrypt: (text: string) => (text.startsWith("<") ? text.slice(1, -1) : null),
};
const route = resourceType("routes")!;

function fields(encrypts = true, unreadable: string[] = []): EncryptedFields {
  return new EncryptedFields(catalog, cipher, encrypts, (place) => unreadable.push(place));
}

const plain = {
  uri: "/",
  plugins: {
    p: {
      secret: "a",
      other: "b",
      auth: { header: { Authorization: "c", count: 1 }, query: "d" },
      instances: [{ auth: { key: ["e", "f", 2] } }, "not an object"],
    },
    unknown: { secret: "g" },
  },
};

test("texts, lists and maps at the end of a path are encrypted, in every element on the way", () => {
  const stored = fields().protect(route, plain);
  assert.deepEqual(stored["plugins"], {
    p: {
      secret: "<a>",
      other: "b",
      auth: { header: { Authorization: "<c>", count: 1 }, query: "d" },
      instances: [{ auth: { key: ["<e>", "<f>", 2] } }, "not an object"],
    },
    unknown: { secret: "g" },
  });
  assert.equal(plain.plugins.p.secret, "a");
  fields().reveal(route, stored, true);
  assert.deepEqual(stored, plain);
});

test("broken shapes are left alone", () => {
  for (const p of [null, 1, "x", [], { secret: null }, { auth: 1 }, { auth: [1] }, { instances: {} }]) {
    const value = { plugins: { p } };
    assert.deepEqual(fields().protect(route, value), value);
  }
  assert.deepEqual(fields().protect(route, { plugins: "x" }), { plugins: "x" });
});

test("without encryption of fields only private keys are encrypted", () => {
  const upstream = { tls: { client_key: "-----BEGIN", client_cert: "-----BEGIN" } };
  const stored = fields(false).protect(route, { ...plain, upstream });
  assert.deepEqual(stored["plugins"], plain.plugins);
  assert.deepEqual(stored["upstream"], { tls: { client_key: "<-----BEGIN>", client_cert: "-----BEGIN" } });
});

test("what looks encrypted and cannot be decrypted is told by its place", () => {
  const unreadable: string[] = [];
  const value = { plugins: { p: { secret: "4y+JvURBE6ZwRbbgaryrhg==", auth: { header: "plain" } } } };
  fields(true, unreadable).reveal(route, value, true);
  assert.deepEqual(unreadable, ["plugin p, secret"]);
  assert.equal(value.plugins.p.secret, "4y+JvURBE6ZwRbbgaryrhg==");
});
