/**
 * Opens TLS connections to one node under one name, and keeps the session of the last one for the next.
 *
 * Promises: the server name is the host of the requests that the connection carries (RFC 6066 section 3: never an
 * address); no session is kept of a peer that was not accepted; what is read comes through the shared buffer.
 */

import { isIP, type Socket } from "node:net";
import type { ConnectionOptions, SecureContext, TLSSocket } from "node:tls";
import type { Connector } from "../../http1/upstream-connection.ts";
import { readBuffer } from "../read-buffer.ts";
import type { SecureContexts } from "./contexts.ts";

const ALPN = ["http/1.1"];
const ALPN_HTTP2 = ["h2"];
const MAX_NAME = 255;
const NAME = /^[a-z0-9._-]+$/;
const acceptAny = (): undefined => undefined;

/** "A.com:443" is "a.com", "[::1]:443" is "::1". */
export function nameOf(host: string): string {
  if (host.startsWith("[")) return host.slice(1, host.indexOf("]"));
  const colon = host.indexOf(":");
  const name = (colon === -1 ? host : host.slice(0, colon)).toLowerCase();
  return name.endsWith(".") ? name.slice(0, -1) : name;
}

export class SecureConnector implements Connector {
  readonly readyEvent = "secureConnect";
  /** All that connections must have in common to be interchangeable. */
  readonly identity: string;
  /** As requests name it. */
  readonly host: string;
  readonly #options: ConnectionOptions;
  readonly #sessions: SecureContexts["sessions"];

  /** `nodeIdentity`: "https#10.0.0.1#443"; `contextName`: of `context`. */
  constructor(
    host: string,
    nodeIdentity: string,
    contextName: string,
    context: SecureContext,
    verifies: boolean,
    sessions: SecureContexts["sessions"],
  ) {
    const name = nameOf(host);
    this.host = host;
    this.identity = `${nodeIdentity}#${name}#${contextName}`;
    this.#sessions = sessions;
    this.#options = {
      secureContext: context,
      rejectUnauthorized: verifies,
      checkServerIdentity: verifies
        ? (_, certificate) => process.getBuiltinModule("node:tls").checkServerIdentity(name, certificate)
        : acceptAny,
      ALPNProtocols: ALPN,
    };
    if (isIP(name) === 0 && name.length <= MAX_NAME && NAME.test(name)) this.#options.servername = name;
  }

  open(address: string, port: number, onRead: (bytes: number, buffer: Buffer) => boolean): Socket {
    const { connect } = process.getBuiltinModule("node:tls");
    const options = {
      ...this.#options,
      host: address,
      port,
      session: this.#sessions.get(this.identity),
      autoSelectFamily: false,
      // As of plain connections: a taken socket may be half-closed.
      allowHalfOpen: true,
      onread: { buffer: readBuffer, callback: onRead },
    };
    const socket = connect(options);
    socket.setNoDelay(true);
    this.#keepSession(socket);
    return socket;
  }

  /** For streams: no protocol is named, and whatever the node sends comes as events. */
  openRaw(address: string, port: number): TLSSocket {
    const { connect } = process.getBuiltinModule("node:tls");
    const { ALPNProtocols: _, ...options } = this.#options;
    const place = { host: address, port, autoSelectFamily: false, allowHalfOpen: true };
    const socket = connect({ ...options, ...place, session: this.#sessions.get(this.identity) });
    socket.setNoDelay(true);
    this.#keepSession(socket);
    return socket;
  }

  /** For a session of HTTP/2, which reads by itself. */
  openHttp2(address: string, port: number): Socket {
    const options = {
      ...this.#options,
      ALPNProtocols: ALPN_HTTP2,
      host: address,
      port,
      session: this.#sessions.get(this.identity),
      autoSelectFamily: false,
    };
    const socket = process.getBuiltinModule("node:tls").connect(options);
    socket.setNoDelay(true);
    this.#keepSession(socket);
    return socket;
  }

  /** With TLS 1.2 a session comes before the peer's name was looked at, with TLS 1.3 after it, several times. */
  #keepSession(socket: TLSSocket): void {
    let early: Buffer | null = null;
    let isAccepted = false;
    socket.on("session", (session: Buffer) => {
      if (isAccepted) this.#sessions.set(this.identity, session);
      else early = session;
    });
    socket.on("secureConnect", () => {
      isAccepted = true;
      if (early !== null) this.#sessions.set(this.identity, early);
      early = null;
    });
    socket.on("error", () => {
      // Whatever was wrong: the next handshake is a whole one.
      if (!isAccepted) this.#sessions.delete(this.identity);
    });
  }
}
