/**
 * Whether an OCSP answer (RFC 6960 4.2) may be shown to clients: signed by the issuer or by whom it let sign, about the
 * certificate in question, in time, and good. Throws why not.
 *
 * Signatures with SHA-1 are not taken, nor RSA-PSS, which no public authority uses here.
 */

import { verify, X509Certificate } from "node:crypto";
import type { BasicOCSPResponse, SingleResponse } from "@peculiar/asn1-ocsp";
import type { OcspQuestion } from "./question.ts";

const BASIC = "1.3.6.1.5.5.7.48.1.1";
const OCSP_SIGNING = "1.3.6.1.5.5.7.3.9";
const SUCCESSFUL = 0;
/** Clocks differ. */
const SKEW_MS = 300_000;
/** Of an answer that does not say when it ends: whoever is in the way could show an old one for ever. */
const MAX_AGE_MS = 7 * 86_400_000;
/** Certificates that an answer brings along. */
const MAX_SIGNERS = 8;

/** OID → digest; null: the algorithm has its own. */
const SIGNATURES: Readonly<Record<string, string | null>> = {
  "1.2.840.113549.1.1.11": "sha256",
  "1.2.840.113549.1.1.12": "sha384",
  "1.2.840.113549.1.1.13": "sha512",
  "1.2.840.10045.4.3.2": "sha256",
  "1.2.840.10045.4.3.3": "sha384",
  "1.2.840.10045.4.3.4": "sha512",
  "1.3.101.112": null,
};

export interface OcspVerdict {
  /** From then on it is no longer good; null: it does not say. Milliseconds since 1970. */
  untilMs: number | null;
}

/** `isTrusted`: the signature is not looked at. */
export async function readOcspAnswer(
  bytes: Buffer,
  question: OcspQuestion,
  nowMs: number,
  isTrusted: boolean,
): Promise<OcspVerdict> {
  const { AsnConvert } = await import("@peculiar/asn1-schema");
  const { BasicOCSPResponse, OCSPResponse } = await import("@peculiar/asn1-ocsp");
  let basic: BasicOCSPResponse;
  try {
    const { responseStatus, responseBytes } = AsnConvert.parse(bytes, OCSPResponse);
    const status: number = responseStatus;
    if (status !== SUCCESSFUL || responseBytes === undefined)
      throw new Refusal(`the responder answers with status ${status}`);
    if (responseBytes.responseType !== BASIC) throw new Refusal("the answer is of an unknown type");
    basic = AsnConvert.parse(responseBytes.response.buffer, BasicOCSPResponse);
  } catch (error) {
    if (error instanceof Refusal) throw error;
    throw new Refusal("the answer cannot be read", { cause: error });
  }
  if (!isTrusted && !(await isSigned(basic, question.issuer, nowMs)))
    throw new Refusal("the answer is signed by nobody who may");
  const single = basic.tbsResponseData.responses.find((each) => isAbout(each, question));
  if (single === undefined) throw new Refusal("the answer is about another certificate");
  if (single.certStatus.revoked !== undefined) throw new Refusal("the certificate is revoked");
  if (single.certStatus.good === undefined) throw new Refusal("the responder does not know the certificate");
  const untilMs = single.nextUpdate?.getTime() ?? null;
  const sinceMs = single.thisUpdate.getTime();
  if (sinceMs > nowMs + SKEW_MS) throw new Refusal("the answer is not valid yet");
  if (untilMs === null && sinceMs < nowMs - MAX_AGE_MS)
    throw new Refusal("the answer is of more than a week ago and does not say until when it is valid");
  if (untilMs !== null && untilMs <= nowMs) throw new Refusal("the answer is no longer valid");
  return { untilMs };
}

class Refusal extends Error {}

function isAbout({ certID }: SingleResponse, { serial, nameHash, keyHash }: OcspQuestion): boolean {
  return (
    serial.equals(Buffer.from(certID.serialNumber)) &&
    nameHash.equals(Buffer.from(certID.issuerNameHash.buffer)) &&
    keyHash.equals(Buffer.from(certID.issuerKeyHash.buffer))
  );
}

async function isSigned(basic: BasicOCSPResponse, issuer: X509Certificate, nowMs: number): Promise<boolean> {
  const { AsnConvert } = await import("@peculiar/asn1-schema");
  const digest = SIGNATURES[basic.signatureAlgorithm.algorithm];
  if (digest === undefined || basic.tbsResponseDataRaw === undefined) return false;
  const signed = Buffer.from(basic.tbsResponseDataRaw);
  const signature = Buffer.from(basic.signature);
  const isBy = (signer: X509Certificate): boolean => {
    try {
      return verify(digest, signed, signer.publicKey, signature);
    } catch {
      // A key of another kind than the signature.
      return false;
    }
  };
  if (isBy(issuer)) return true;
  return (basic.certs ?? []).slice(0, MAX_SIGNERS).some((each) => {
    const signer = new X509Certificate(Buffer.from(AsnConvert.serialize(each)));
    return isDelegate(signer, issuer, nowMs) && isBy(signer);
  });
}

/** RFC 6960 4.2.2.2. */
function isDelegate(signer: X509Certificate, issuer: X509Certificate, nowMs: number): boolean {
  return (
    Date.parse(signer.validFrom) <= nowMs &&
    Date.parse(signer.validTo) > nowMs &&
    (signer.keyUsage ?? []).includes(OCSP_SIGNING) &&
    signer.checkIssued(issuer) &&
    signer.verify(issuer.publicKey)
  );
}
