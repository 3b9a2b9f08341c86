/**
 * What plugins see of a TLS client before the handshake: its hello, and a connection that they may steer.
 *
 * The phase runs before any certificate is chosen and before a route is known: for global rules. It is
 * synchronous; what a handler wants to know later it leaves as a tag, which is the variable `tls_tag_<name>` of
 * every request on the connection.
 */

export type TlsVersionName = "TLSv1.1" | "TLSv1.2" | "TLSv1.3";

/** RFC 8446 4.1.2. Numbers are those of the registries of IANA, in the order of the hello; GREASE (RFC 8701) stays. */
export interface ClientHello {
  /** The handshake message as sent, its header included; records taken off. Empty once the phase is over. */
  readonly raw: Buffer;
  /** Lower case, without a dot at the end; null: none was sent. */
  readonly serverName: string | null;
  /** As Latin-1. */
  readonly alpn: readonly string[];
  /** `legacy_version`: 0x0303 also for TLS 1.3. */
  readonly legacyVersion: number;
  /** The extension `supported_versions`; empty: it was not sent. */
  readonly supportedVersions: readonly number[];
  readonly ciphers: readonly number[];
  readonly extensions: readonly number[];
  readonly groups: readonly number[];
  readonly pointFormats: readonly number[];
  readonly signatureAlgorithms: readonly number[];
  /** MD5 of `ja3Text` in hexadecimal. */
  readonly ja3: string;
  readonly ja3Text: string;
  /** As FoxIO's specification of JA4 (TLS client) has it. */
  readonly ja4: string;
}

export interface HelloConnection {
  /** The client's: as the PROXY protocol announced it, else that of the peer. */
  readonly remoteAddress: string;
  readonly remotePort: number;
  readonly localAddress: string;
  readonly localPort: number;
  /** Ends the connection: the client gets the alert `access_denied`. Nobody else is asked. */
  close(): void;
  /** Shows the certificate of the `ssls` resource with this id instead of that of the server name. */
  useCertificate(id: string): void;
  /** Of the versions that are allowed, only these. None left: the handshake fails. */
  restrictVersions(versions: readonly TlsVersionName[]): void;
  /** Variable `tls_tag_<name>` of every request on this connection. */
  tag(name: string, value: string): void;
}
