/**
 * A described request as an exchange, so that variables and conditions read it exactly as they read a real one. Its
 * client is nobody: nothing is received, and nothing that is written goes anywhere.
 */

import type { Socket } from "node:net";
import { HeaderList } from "../../lib/headers.ts";
import type { PathRules } from "../../lib/uri.ts";
import type { DescribedRequest } from "../../shared/explanation.ts";
import { BodyVariables } from "../exchange/body/body-variables.ts";
import { HttpExchange } from "../exchange/exchange.ts";
import { readRequest } from "../exchange/request-facts.ts";
import type { ClientConnection, ClientTransport, RequestHead } from "../transport.ts";

/** Null: the target has no valid reading; the gateway answers 400. */
export function describedExchange(described: DescribedRequest, rules: PathRules): HttpExchange | null {
  const head = headOf(described);
  const request = readRequest(head, rules);
  if (request === null) return null;
  const x = new HttpExchange(new NoClient(described), head, request, performance.now());
  x.bodyVariables = new BodyVariables(request, described.body === null ? null : Buffer.from(described.body));
  return x;
}

function headOf({ method, target, authority, headers, body }: DescribedRequest): RequestHead {
  const list = HeaderList.from(headers);
  if (authority !== "") list.set("Host", authority);
  const bodyLength = body === null ? 0 : Buffer.byteLength(body);
  if (bodyLength > 0) list.set("Content-Length", String(bodyLength));
  return {
    method,
    target,
    authority,
    sentAuthority: authority,
    headers: list,
    version: "1.1",
    bodyLength,
    upgrade: null,
    expectsContinue: false,
    headBytes: 0,
  };
}

class NoClient implements ClientTransport {
  readonly connection: ClientConnection;
  readonly bytesSent = 0;
  readonly bodyBytesSent = 0;
  readonly bytesReceived = 0;

  constructor({ clientAddress, scheme, serverPort }: DescribedRequest) {
    this.connection = {
      remoteAddress: clientAddress,
      remotePort: 0,
      localAddress: "127.0.0.1",
      localPort: serverPort,
      proxyProtocolAddress: null,
      scheme,
      tls: null,
      serial: 0,
      requests: 1,
    };
  }

  readBody(): void {}
  resumeBody(): void {}
  holdOpen(): void {}
  writeInformational(): void {}
  writeHead(): void {}
  writeBody(): boolean {
    return true;
  }
  writeEnd(): void {}
  writeAnswer(): void {}
  abort(): void {}
  takeSocket(): { socket: Socket; rest: Buffer } {
    throw new Error("a described request has no socket");
  }
}
