/**
 * What the protocol engine itself says to a client over HTTP/2: the same as over HTTP/1.1, per row of `ERRORS`. Who calls with
 * gRPC does not read the bodies of errors, and gets a header section with the status of its call.
 */

import type { ServerHttp2Stream } from "node:http2";
import { grpcStatusOf } from "../../lib/grpc-status.ts";
import type { ProtocolError } from "../http1/errors.ts";

/** The whole answer. */
export function respondError(stream: ServerHttp2Stream, error: ProtocolError, isCall: boolean): void {
  if (isCall) {
    stream.respond(callFields(error), { endStream: true });
    return;
  }
  const text = `${JSON.stringify({ error_msg: error.message })}\n`;
  stream.respond([
    ":status",
    String(error.status),
    "date",
    new Date().toUTCString(),
    "content-type",
    "application/json",
    "content-length",
    String(text.length),
  ]);
  stream.end(text);
}

function callFields(error: ProtocolError): string[] {
  return [
    ":status",
    "200",
    "date",
    new Date().toUTCString(),
    "content-type",
    "application/grpc",
    "grpc-status",
    String(grpcStatusOf(error.status)),
    "grpc-message",
    error.message,
  ];
}
