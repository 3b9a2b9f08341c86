/**
 * Whether certificates and private keys can be read, so that a broken one is refused when it is written and not
 * found by the first handshake. References to secrets are read later.
 */

import { createPrivateKey, X509Certificate } from "node:crypto";
import { isSecretReference } from "./explain.ts";

const CERTIFICATE = /-----BEGIN (?:TRUSTED |X509 )?CERTIFICATE-----/;
const PRIVATE_KEY = /-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----/;

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
    : `failed to parse cert: PEM_read_bio_X509_AUX() failed${likelyReason(cert, CERTIFICATE)}`;
}

function unreadableKey(key: unknown): string | null {
  if (typeof key !== "string") return null;
  // Neither PEM nor anything that the keyring could decrypt.
  if (!key.startsWith("---")) return "failed to decrypt previous encrypted key";
  return canRead(() => createPrivateKey(key))
    ? null
    : `failed to parse key: PEM_read_bio_PrivateKey() failed${likelyReason(key, PRIVATE_KEY)}`;
}

/** Of the mistakes that people make, the one that is seen in the text; "" for any other. */
function likelyReason(text: string, expected: RegExp): string {
  if (/-----BEGIN [^\n]*-----\\n/.test(text))
    return ": its line ends are the two characters \\ and n; expected line feeds, \\n once in JSON";
  if (!expected.test(text)) {
    if (CERTIFICATE.test(text)) return ": a certificate is given, expected its private key";
    return PRIVATE_KEY.test(text) ? ": a private key is given, expected a certificate" : "";
  }
  if (expected === PRIVATE_KEY && /^-----BEGIN ENCRYPTED |^Proc-Type: 4,ENCRYPTED/m.test(text))
    return ": it is encrypted; expected a key without a passphrase, as `openssl pkey` writes it";
  return "";
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
