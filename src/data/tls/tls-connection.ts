/**
 * What is known of a client connection's TLS: the hello, what was agreed, the client's certificate. Variables read it,
 * and every request asks whether it may come on this connection.
 *
 * What plugins ask for rarely is computed when they ask: fingerprints from the lists of the hello,
 * facts of the client's certificate from the certificate.
 */

import type { X509Certificate } from "node:crypto";
import type { TLSSocket } from "node:tls";
import { withoutAdvice } from "../../lib/certificate-fault.ts";
import type { ClientHello } from "../../plugin/client-hello.ts";
import type { Certificate } from "./certificate.ts";
import type { Certificates } from "./certificates.ts";
import type { MutualRules } from "./mutual-rules.ts";
import { escapedPem, expiryText, nameText, remainingDays } from "./client-certificate.ts";

export class TlsConnection {
  readonly hello: ClientHello;
  /** The name that counts: as sent, else the fallback; null: neither. */
  readonly serverName: string | null;
  readonly certificate: Certificate;
  /** As `HelloConnection.tag` set them. */
  readonly tags: ReadonlyMap<string, string> | null;
  protocol = "";
  cipher = "";
  /** What ALPN chose ("h2", "http/1.1"); "" when the client offered nothing. */
  applicationProtocol = "";
  isResumed = false;
  /** What the client showed; null: nothing, or it was not asked. */
  peer: X509Certificate | null = null;
  /** As nginx tells it: "NONE", "SUCCESS", "FAILED:reason". */
  verdict = "NONE";
  readonly #certificates: Certificates;
  /** The certificate is the name's, and neither that of a listener nor one that a plugin chose instead. */
  readonly #isOfName: boolean;

  constructor(
    hello: ClientHello,
    serverName: string | null,
    certificate: Certificate,
    tags: ReadonlyMap<string, string> | null,
    certificates: Certificates,
  ) {
    this.hello = hello;
    this.serverName = serverName;
    this.certificate = certificate;
    this.tags = tags;
    this.#certificates = certificates;
    this.#isOfName = serverName !== null && certificates.byName(serverName) === certificate;
  }

  /** The handshake is complete. */
  established(socket: TLSSocket): void {
    this.protocol = socket.getProtocol() ?? "";
    this.cipher = socket.getCipher()?.name ?? "";
    this.isResumed = socket.isSessionReused();
    if (typeof socket.alpnProtocol === "string") this.applicationProtocol = socket.alpnProtocol;
    const { mutual } = this.certificate;
    if (mutual === null) return;
    this.peer = socket.getPeerX509Certificate() ?? null;
    if (this.peer !== null) this.verdict = verify(socket, this.peer, mutual);
  }

  /**
   * Whether a request for this host and path may come here. A host whose certificate asks for client certificates is
   * served on connections for just that name alone, and verified by its rules: else a client could verify for one and
   * ask for another.
   */
  admits(host: string, path: string): boolean {
    if (!this.#certificates.hasMutual && this.certificate.mutual === null) return true;
    const isVerified = this.verdict === "SUCCESS";
    if (!isVerified && !this.certificate.isOpen(path)) return false;
    const asked = host === "" ? null : this.#certificates.guardOf(host);
    if (asked === null || asked.mutual === null) return true;
    return this.#isOfName && this.serverName === host && (isVerified || asked.isOpen(path));
  }

  /** `ssl_...` and `tls_...` as nginx and this gateway name them; undefined: no such, or no value. */
  variable(name: string): string | undefined {
    if (name.startsWith("ssl_client_")) return this.#clientVariable(name);
    switch (name) {
      case "ssl_protocol":
        return this.protocol;
      case "ssl_cipher":
        return this.cipher;
      case "ssl_server_name":
        return this.hello.serverName ?? undefined;
      case "ssl_session_reused":
        return this.isResumed ? "r" : ".";
      case "tls_ja3":
        return this.hello.ja3;
      case "tls_ja4":
        return this.hello.ja4;
      default:
        return name.startsWith("tls_tag_") ? this.tags?.get(name.slice("tls_tag_".length)) : undefined;
    }
  }

  #clientVariable(name: string): string | undefined {
    if (name === "ssl_client_verify") return this.verdict;
    const { peer } = this;
    if (peer === null) return undefined;
    switch (name) {
      case "ssl_client_s_dn":
        return nameText(peer.subject);
      case "ssl_client_i_dn":
        return nameText(peer.issuer);
      case "ssl_client_serial":
        return peer.serialNumber;
      case "ssl_client_fingerprint":
        return peer.fingerprint.replaceAll(":", "").toLowerCase();
      case "ssl_client_raw_cert":
        return peer.toString().trimEnd();
      case "ssl_client_cert":
        return peer.toString().trimEnd().replaceAll("\n", "\n\t");
      case "ssl_client_escaped_cert":
        return escapedPem(peer);
      case "ssl_client_v_start":
        return expiryText(peer.validFrom);
      case "ssl_client_v_end":
        return expiryText(peer.validTo);
      case "ssl_client_v_remain":
        return remainingDays(peer, Date.now());
      default:
        return undefined;
    }
  }
}

/** What OpenSSL found; there is no public way to it on a socket that no `tls.Server` made. */
interface HandleInside {
  _handle: { verifyError(): { code?: string; message: string } | null | undefined } | null;
}

function verify(socket: TLSSocket, peer: X509Certificate, rules: MutualRules): string {
  const error = (socket as unknown as HandleInside)._handle?.verifyError();
  if (error !== null && error !== undefined) return `FAILED:${withoutAdvice(error.message)}`;
  return rules.permitsChain(peer) ? "SUCCESS" : "FAILED:certificate chain too long";
}
