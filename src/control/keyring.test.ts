/** The keyring: APISIX's ciphertexts, several keys, an own key in the data folder. */

import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import * as fc from "fast-check";
import { Keyring, openKeyring } from "./keyring.ts";

const folder = mkdtempSync(join(tmpdir(), "cardea-keyring-"));
after(() => rmSync(folder, { recursive: true, force: true }));

test("ciphertexts are those of APISIX", () => {
  // As its own tests have them, made with its first published key.
  assert.equal(new Keyring(["qeddd145sfvddff3"]).encrypt("auth-one"), "4y+JvURBE6ZwRbbgaryrhg==");
  assert.equal(new Keyring(["qeddd145sfvddff3"]).decrypt("JCX7x1qN5e9kHt0GuJfWpw=="), "the-key");
});

test("every text comes back, by the first key and by later ones", () => {
  const old = new Keyring(["0123456789abcdef"]);
  const ring = new Keyring(["0123456789abcdef0123456789abcdef", "0123456789abcdef"]);
  fc.assert(
    fc.property(fc.string({ unit: "grapheme", maxLength: 100 }), (text) => {
      assert.equal(ring.decrypt(ring.encrypt(text)), text);
      assert.equal(ring.decrypt(old.encrypt(text)), text);
    }),
  );
});

test("what no key has made is not decrypted", () => {
  const ring = new Keyring(["0123456789abcdef"]);
  for (const text of [
    "",
    "auth-one",
    "$secret://vault/1/key",
    "AAAA",
    "not base64 at all, but long enough!!",
  ]) {
    assert.equal(ring.decrypt(text), null);
  }
});

test("keys of another length are refused without being shown", () => {
  assert.throws(
    () => new Keyring(["0123456789abcdef", "a-secret"]),
    (error: Error) => {
      assert.match(error.message, /key 2 has 8 bytes, expected 16 or 32/);
      return !error.message.includes("a-secret");
    },
  );
});

test("an own key is made once, for the owner's eyes only, and no default key encrypts", () => {
  const text = openKeyring(folder, [], false).encrypt("text");
  assert.equal(statSync(join(folder, "keyring")).mode & 0o777, 0o600);
  assert.equal(readFileSync(join(folder, "keyring"), "utf8").trim().length, 32);
  assert.equal(openKeyring(folder, [], false).decrypt(text), "text");
  const withPublic = openKeyring(folder, ["qeddd145sfvddff3"], false);
  assert.equal(withPublic.decrypt("4y+JvURBE6ZwRbbgaryrhg=="), "auth-one");
  assert.equal(withPublic.encrypt("text"), text);
  assert.notEqual(openKeyring(folder, ["0123456789abcdef"], false).encrypt("text"), text);
});

test("an emptied key file is an error, not a new key", () => {
  writeFileSync(join(folder, "keyring"), "\n");
  assert.throws(() => openKeyring(folder, [], false), /expected one key per line/);
});

test("a shared ring reads APISIX's data without a key of its own, and refuses to encrypt until it has one", () => {
  const ring = openKeyring(join(folder, "shared"), [], true);
  assert.equal(ring.decrypt("4y+JvURBE6ZwRbbgaryrhg=="), "auth-one");
  assert.throws(() => ring.encrypt("text"), { statusCode: 400, message: /data_encryption\.keyring/ });
  const listed = openKeyring(join(folder, "shared"), ["qeddd145sfvddff3"], true);
  assert.throws(() => listed.encrypt("text"), { statusCode: 400 });
  const secret = openKeyring(join(folder, "shared"), ["0123456789abcdef", "qeddd145sfvddff3"], true);
  assert.equal(secret.decrypt(secret.encrypt("text")), "text");
});
