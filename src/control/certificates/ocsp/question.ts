/**
 * What is asked about a certificate (RFC 6960 4.1): where its responder is, and the question for it. With SHA-1 in the
 * names, as RFC 5019 wants it of clients: it tells issuers apart and protects nothing.
 *
 * ASN.1 is the work of `@peculiar/asn1-*`, which is loaded with the first certificate that is to be stapled.
 */

import { createHash, X509Certificate } from "node:crypto";

const SHA1 = "1.3.14.3.2.26";
const PEM = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g;
const RESPONDER = /^OCSP - URI:(\S+)$/m;

export interface OcspQuestion {
  url: URL;
  /** DER. */
  bytes: Buffer;
  certificate: X509Certificate;
  issuer: X509Certificate;
  /** What the answer must name. */
  serial: Buffer;
  nameHash: Buffer;
  keyHash: Buffer;
}

/** Of a chain in PEM, the server's certificate first. Throws why there is nothing to ask. */
export async function ocspQuestion(chain: string): Promise<OcspQuestion> {
  const [certificate, ...others] = (chain.match(PEM) ?? []).map((pem) => new X509Certificate(pem));
  if (certificate === undefined) throw new Error("there is no certificate");
  const responder = RESPONDER.exec(certificate.infoAccess ?? "")?.[1];
  const url = responder === undefined ? null : URL.parse(responder);
  if (url === null || !/^https?:$/.test(url.protocol))
    throw new Error("the certificate names no OCSP responder");
  const issuer = others.find(
    (other) => certificate.checkIssued(other) && certificate.verify(other.publicKey),
  );
  if (issuer === undefined) throw new Error("the chain has no certificate of the issuer");
  const { AsnConvert, OctetString } = await import("@peculiar/asn1-schema");
  const { AlgorithmIdentifier, Certificate } = await import("@peculiar/asn1-x509");
  const { CertID, OCSPRequest, Request, TBSRequest } = await import("@peculiar/asn1-ocsp");
  const own = AsnConvert.parse(certificate.raw, Certificate).tbsCertificate;
  const its = AsnConvert.parse(issuer.raw, Certificate).tbsCertificate;
  const nameHash = sha1(AsnConvert.serialize(own.issuer));
  const keyHash = sha1(its.subjectPublicKeyInfo.subjectPublicKey);
  const reqCert = new CertID({
    hashAlgorithm: new AlgorithmIdentifier({ algorithm: SHA1, parameters: null }),
    issuerNameHash: new OctetString(nameHash),
    issuerKeyHash: new OctetString(keyHash),
    serialNumber: own.serialNumber,
  });
  const request = new OCSPRequest({
    tbsRequest: new TBSRequest({ requestList: [new Request({ reqCert })] }),
  });
  const bytes = Buffer.from(AsnConvert.serialize(request));
  return { url, bytes, certificate, issuer, serial: Buffer.from(own.serialNumber), nameHash, keyHash };
}

function sha1(bytes: ArrayBuffer): Buffer {
  return createHash("sha1").update(Buffer.from(bytes)).digest();
}
