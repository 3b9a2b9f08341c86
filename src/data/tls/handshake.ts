/**
 * One TLS handshake of a client, from the accepted socket to the encrypted one: reads the hello, lets plugins see it,
 * chooses the certificate and the versions, and leaves the rest to OpenSSL.
 *
 * Promises: everything is decided before OpenSSL sees the first byte, so nothing is asked back from it; there is one
 * deadline for all of it; `onSecure` or `onFailed` is called exactly once, unless `destroy` was.
 *
 * The bytes of the hello go back into the socket, from which `TLSSocket` takes them.
 */

import type { Socket } from "node:net";
import type { TLSSocket } from "node:tls";
import type { TlsVersion } from "../../config/static-config.ts";
import type { ClientHello, HelloConnection } from "../../plugin/client-hello.ts";
import type { PluginLog } from "../../plugin/host.ts";
import { type ByteReader, readFirst } from "../listen/shared-read.ts";
import { type Deadlined, type Deadlines, NEVER } from "../deadlines.ts";
import { alertRecord, type AlertName, looksLikeHttp, PLAIN_HTTP_ANSWER } from "./alerts.ts";
import type { Certificate } from "./certificate.ts";
import type { Certificates } from "./certificates.ts";
import { type ParsedHello, readClientHello } from "./client-hello.ts";
import { TlsConnection } from "./tls-connection.ts";

/** Protocols that clients may choose here, as they stand on the wire (RFC 7301 3.1). */
const HTTP_1_1 = Buffer.from("\x08http/1.1", "latin1");
/** The best first: the server's order decides. */
export const HTTP_2_AND_1_1 = Buffer.from("\x02h2\x08http/1.1", "latin1");

/** What a handshake may still take while its listener drains. */
const DRAIN_MS = 1000;

/** Tags and their length: what a plugin keeps for the life of a connection. */
const MAX_TAGS = 32;
const MAX_TAG_LENGTH = 1024;

/** There is no public way to it on a socket that no `tls.Server` made. */
interface Stapling {
  _handle: { setOCSPResponse(response: Buffer): void };
}

export type HelloHandler = (hello: ClientHello, connection: HelloConnection) => void;

/** What all handshakes of a worker share. */
export interface TlsServices {
  readonly certificates: Certificates;
  readonly deadlines: Deadlines;
  readonly timeoutMs: number;
  /** Protocols that clients may choose, as on the wire; null: none is agreed on. Absent: HTTP/1.1. */
  readonly alpn?: Buffer | null;
  /** Handlers of the global rules, in order; null: there are none. */
  helloHandlers(): readonly HelloHandler[] | null;
  readonly log: PluginLog;
}

/** Why there is no connection; the label of a metric. */
export type HandshakeFailure =
  | "closed" // the client left
  | "timeout"
  | "malformed" // no hello of TLS
  | "denied" // a plugin closed it
  | "no-certificate" // none for this name or listener
  | "no-version"
  | "unusable-certificate"
  | "client-certificate" // none, or not one of the authority's
  | "handshake"; // OpenSSL refused

export interface HandshakeHost {
  onSecure(handshake: Handshake, socket: TLSSocket, tls: TlsConnection): void;
  onFailed(handshake: Handshake, failure: HandshakeFailure): void;
}

/** Who connected, as the listener knows. */
export interface PeerFacts {
  readonly remoteAddress: string;
  readonly remotePort: number;
  /** What the PROXY protocol announced, if it did. */
  readonly proxyProtocolAddress: string | null;
}

export class Handshake implements Deadlined, HelloConnection, ByteReader {
  deadline: number;
  readonly remoteAddress: string;
  readonly remotePort: number;
  readonly localAddress: string;
  readonly localPort: number;
  readonly peer: PeerFacts;
  readonly #socket: Socket;
  readonly #services: TlsServices;
  readonly #host: HandshakeHost;
  #bytes: Buffer | null = null;
  #secured: TLSSocket | null = null;
  #tls: TlsConnection | null = null;
  #isOver = false;
  #isDenied = false;
  #chosenId: string | null = null;
  #versions: readonly TlsVersion[] | null = null;
  #tags: Map<string, string> | null = null;

  /** Begins with `start`. */
  constructor(socket: Socket, peer: PeerFacts, services: TlsServices, host: HandshakeHost) {
    this.#socket = socket;
    this.#services = services;
    this.#host = host;
    this.peer = peer;
    this.remoteAddress = peer.proxyProtocolAddress ?? peer.remoteAddress;
    this.remotePort = peer.remotePort;
    this.localAddress = withoutMapping(socket.localAddress ?? "");
    this.localPort = socket.localPort ?? 0;
    this.deadline = services.deadlines.now() + services.timeoutMs;
  }

  /** `rest`: what was read already behind a PROXY header; null or empty: nothing. */
  start(rest: Buffer | null): void {
    const socket = this.#socket;
    this.#services.deadlines.add(this);
    socket.on("end", this.#onGone);
    socket.on("close", this.#onGone);
    socket.on("error", this.#onSocketError);
    if (rest !== null && rest.length > 0) this.onBytes(rest, rest.length);
    if (!this.#isOver && this.#secured === null) readFirst(socket, this);
  }

  onDeadline(): void {
    this.#fail("timeout");
  }

  /** The listener wants to end: a client that has not said anything by then will not. */
  drain(): void {
    this.deadline = Math.min(this.deadline, this.#services.deadlines.now() + DRAIN_MS);
  }

  /** Ends it without a word to anybody. */
  destroy(): void {
    this.#finish();
    (this.#secured ?? this.#socket).destroy();
  }

  // ── what plugins may do ─────────────────────────────────────────────────────────────────────────────────

  close(): void {
    this.#isDenied = true;
  }

  useCertificate(id: string): void {
    this.#chosenId = id;
  }

  restrictVersions(versions: readonly TlsVersion[]): void {
    const before = this.#versions;
    this.#versions = before === null ? versions : before.filter((version) => versions.includes(version));
  }

  tag(name: string, value: string): void {
    this.#tags ??= new Map();
    if (this.#tags.size < MAX_TAGS || this.#tags.has(name))
      this.#tags.set(name.slice(0, MAX_TAG_LENGTH), value.slice(0, MAX_TAG_LENGTH));
  }

  // ── the hello ───────────────────────────────────────────────────────────────────────────────────────────

  onBytes(buffer: Buffer, length: number): boolean {
    if (this.#isOver || this.#secured !== null) return false;
    // A copy: the buffer is the thread's.
    const chunk = Buffer.from(buffer.subarray(0, length));
    const bytes = this.#bytes === null ? chunk : Buffer.concat([this.#bytes, chunk]);
    this.#bytes = bytes;
    const hello = readClientHello(bytes);
    if (hello === "need-more") return true;
    if (hello === "malformed") this.#refuse("malformed", "decode-error");
    else this.#onHello(hello);
    return false;
  }

  #onHello(hello: ParsedHello): void {
    const { certificates } = this.#services;
    const handlers = this.#services.helloHandlers();
    if (handlers !== null) this.#ask(handlers, hello);
    hello.forgetRaw();
    if (this.#isDenied) return this.#refuse("denied", "access-denied");
    const name = hello.serverName ?? null;
    const certificate = this.#choose(name);
    if (certificate === null) return this.#refuse("no-certificate", "unrecognized-name");
    const allowed = certificate.versions ?? certificates.config.versions;
    const wanted = this.#versions;
    const versions = wanted === null ? allowed : allowed.filter((version) => wanted.includes(version));
    if (versions.length === 0) return this.#refuse("no-version", "protocol-version");
    const serverName = name ?? certificates.config.fallbackServerName;
    this.#tls = new TlsConnection(hello, serverName, certificate, this.#tags, certificates);
    this.#secure(certificate, versions, certificate.pairToStaple(hello, versions, Date.now()));
  }

  /** A plugin that fails may be the one that guards: the connection ends. */
  #ask(handlers: readonly HelloHandler[], hello: ClientHello): void {
    try {
      for (const handler of handlers) {
        handler(hello, this);
        if (this.#isDenied) return;
      }
    } catch (error) {
      this.#services.log.error("a plugin failed in the phase clientHello", { error: String(error) });
      this.#isDenied = true;
    }
  }

  #choose(name: string | null): Certificate | null {
    const { certificates } = this.#services;
    if (this.#chosenId !== null) return certificates.byId(this.#chosenId);
    if (name !== null) return certificates.byName(name);
    const byListener = certificates.byListener(this.localAddress, this.localPort);
    if (byListener !== null) return byListener;
    const fallback = certificates.config.fallbackServerName;
    return fallback === null ? null : certificates.byName(fallback);
  }

  // ── the handshake ───────────────────────────────────────────────────────────────────────────────────────

  /** `stapled`: the pair whose OCSP answer goes along; -1: none. */
  #secure(certificate: Certificate, versions: readonly TlsVersion[], stapled: number): void {
    const secureContext = this.#services.certificates.contextOf(certificate, versions, stapled);
    if (secureContext === null) return this.#refuse("unusable-certificate", "internal-error");
    const socket = this.#socket;
    socket.removeAllListeners("data");
    socket.off("end", this.#onGone);
    socket.off("close", this.#onGone);
    socket.pause();
    socket.unshift(this.#bytes!);
    this.#bytes = null;
    const { mutual } = certificate;
    const { alpn = HTTP_1_1 } = this.#services;
    const { TLSSocket } = process.getBuiltinModule("node:tls");
    const secured = new TLSSocket(socket, {
      isServer: true,
      secureContext,
      requestCert: mutual !== null,
      rejectUnauthorized: mutual !== null && mutual.openPaths === null,
      ...(alpn !== null && { ALPNProtocols: alpn }),
    });
    this.#secured = secured;
    // What `tls.Server` does with the answer to its event OCSPRequest, before any byte is read.
    if (stapled !== -1) (secured as unknown as Stapling)._handle.setOCSPResponse(certificate.staple(stapled));
    secured.on("secure", this.#onSecured);
    secured.on("error", this.#onTlsError);
    // A client that leaves without its last message; sockets here may be half open, so nothing else follows.
    secured.on("end", this.#onGone);
    secured.on("close", this.#onGone);
  }

  readonly #onSecured = (): void => {
    const tls = this.#tls!;
    const secured = this.#secured!;
    tls.established(secured);
    const { mutual } = tls.certificate;
    if (mutual !== null && mutual.openPaths === null && tls.verdict !== "SUCCESS") {
      this.#services.log.info("client certificate refused", { ssl: tls.certificate.id, reason: tls.verdict });
      return this.#fail("client-certificate");
    }
    this.#finish();
    // What `tls.Server` does for its sockets; a session of HTTP/2 would wait for it.
    (secured as { secureConnecting?: boolean }).secureConnecting = false;
    secured.off("secure", this.#onSecured);
    secured.off("error", this.#onTlsError);
    secured.off("end", this.#onGone);
    secured.off("close", this.#onGone);
    this.#host.onSecure(this, secured, tls);
  };

  readonly #onTlsError = (error: NodeJS.ErrnoException): void => {
    this.#services.log.debug("handshake failed", { reason: error.code ?? error.message });
    const isPeerless = error.code === "ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE";
    this.#fail(isPeerless ? "client-certificate" : error.code === "ECONNRESET" ? "closed" : "handshake");
  };

  readonly #onGone = (): void => this.#fail("closed");

  /** "close" follows; on the secured socket, too. */
  readonly #onSocketError = (): void => undefined;

  /** With a last word to the client, who has had none yet. */
  #refuse(failure: HandshakeFailure, alert: AlertName): void {
    if (this.#isOver) return;
    const isHttp = failure === "malformed" && looksLikeHttp(this.#bytes!);
    this.#finish();
    const socket = this.#socket;
    socket.removeAllListeners("data");
    socket.write(isHttp ? PLAIN_HTTP_ANSWER : alertRecord(alert));
    socket.destroySoon();
    this.#host.onFailed(this, failure);
  }

  #fail(failure: HandshakeFailure): void {
    if (this.#isOver) return;
    this.#finish();
    (this.#secured ?? this.#socket).destroy();
    this.#host.onFailed(this, failure);
  }

  #finish(): void {
    this.#isOver = true;
    this.deadline = NEVER;
    this.#services.deadlines.delete(this);
  }
}

function withoutMapping(address: string): string {
  return address.startsWith("::ffff:") && address.includes(".") ? address.slice(7) : address;
}
