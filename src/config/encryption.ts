/** `apisix.data_encryption`: what is encrypted in the store, and with which keys. */

import { Type } from "../lib/schema.ts";
import { section } from "./kinds.ts";
import type { ResolveInput } from "./resolve.ts";
import type { EncryptionConfig } from "./static-config.ts";
import { PUBLIC_KEYS } from "./well-known-keys.ts";

const EncryptionKey = Type.String({
  secret: true,
  pattern: "^[\\x20-\\x7e]{16}(?:[\\x20-\\x7e]{16})?$",
  expects: "a key of 16 or 32 printable characters",
});

export const encryptionSection = section(
  {
    enable_encrypt_fields: Type.Boolean({
      default: true,
      description: "Whether secret fields of plugins are encrypted at rest; private keys always are.",
    }),
    keyring: Type.Union([EncryptionKey, Type.Array(EncryptionKey, { maxItems: 100 })], {
      default: [],
      description:
        "Keys; the first encrypts, all are tried to decrypt. Without one, a random key is made at the first " +
        "start and kept in the file `keyring` of the data folder. The keys that APISIX's documentation prints " +
        "are used to decrypt only.",
    }),
  },
  { description: "Encryption of the configuration at rest, as APISIX does it." },
);

export function encryption({ filled, addWarning }: ResolveInput): EncryptionConfig {
  const { enable_encrypt_fields: enabled, keyring } = filled.apisix.data_encryption;
  const keys = typeof keyring === "string" ? [keyring] : keyring;
  if (keys.some((key) => PUBLIC_KEYS.has(key))) {
    addWarning(
      "apisix.data_encryption.keyring has a key that APISIX's documentation prints: it decrypts, and does not encrypt",
    );
  }
  return { enabled, keyring: keys };
}
