/**
 * Whether certificates and private keys can be read, so that a broken one is refused when it is written and not
 * found by the first handshake. References to secrets are read later.
 */

import { createPrivateKey, X509Certificate } from "node:crypto";
import { isSecretReference } from "./explain.ts";

/** Why not, in APISIX's words, which name what failed in OpenSSL; null: both can be read. */
export function unreadablePair(cert: unknown, key: unknown): string | null {
  if (isSecretReference(cert) || isSecretReference(key)) return null;
  return unreadableCertificate(cert) ?? unreadableKey(key) ?? unfitKey(cert, key);
}

/** APISIX takes any two; the handshakes that fail then tell nobody why. */
function unfitKey(cert: unknown, key: unknown): string | null {
  if (typeof cert !== "string" || typeof key !== "string") return null;
  return new X509Certificate(cert).checkPrivateKey(createPrivateKey(key))
    ? null
    : "the key does not belong to the cert";
}

export function unreadableCertificate(cert: unknown): string | null {
  if (typeof cert !== "string" || isSecretReference(cert)) return null;
  return canRead(() => new X509Certificate(cert))
    ? null
    : "failed to parse cert: PEM_read_bio_X509_AUX() failed";
}

function unreadableKey(key: unknown): string | null {
  if (typeof key !== "string") return null;
  // Neither PEM nor anything that the keyring could decrypt.
  if (!key.startsWith("---")) return "failed to decrypt previous encrypted key";
  return canRead(() => createPrivateKey(key))
    ? null
    : "failed to parse key: PEM_read_bio_PrivateKey() failed";
}

/** Without the reason: OpenSSL's codes say nothing, and no part of a key may reach an answer. */
function canRead(read: () => object): boolean {
  try {
    read();
    return true;
  } catch {
    return false;
  }
}
