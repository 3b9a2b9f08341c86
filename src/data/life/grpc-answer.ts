/**
 * What the gateway says to clients of gRPC: the status of the call in the header section of an answer that has nothing else
 * ("Trailers-Only" in gRPC's protocol over HTTP/2). Such a client does not read the bodies of errors.
 * Logs, metrics and plugins keep the status of HTTP, from which that of gRPC follows.
 */

import { encodeGrpcMessage, grpcStatusOf } from "../../lib/grpc-status.ts";
import type { HeaderList } from "../../lib/headers.ts";
import { reasonPhrase } from "../../lib/status-codes.ts";
import type { AnswerBody } from "../../plugin/exchange.ts";
import type { HttpExchange } from "../exchange/exchange.ts";
import { isGrpcType } from "../http2/request-fields.ts";

const GRPC = "application/grpc";

/**
 * Over HTTP/2 only, unless a plugin says otherwise: elsewhere nobody could read the answer. What a plugin answers with success
 * is as it made it.
 */
export function isFailedCall(x: HttpExchange, status: number): boolean {
  if (status < 300 || x.response.headers.has("grpc-status")) return false;
  // Browsers follow redirects before their page sees an answer.
  if (x.callType !== null) return status >= 400;
  if (x.head.version !== "2") return false;
  const type = x.request.headers.get("content-type");
  return type !== undefined && isGrpcType(type);
}

/** Makes the fields of an answer with `status` those of a failed call, in place. */
export function asGrpcAnswer(
  x: HttpExchange,
  headers: HeaderList,
  status: number,
  body: AnswerBody | undefined,
): void {
  headers.put("content-type", "Content-Type", x.callType ?? GRPC);
  putGrpcStatus(headers, status, body);
}

export function putGrpcStatus(headers: HeaderList, status: number, body: AnswerBody | undefined): void {
  headers.put("grpc-status", "grpc-status", String(grpcStatusOf(status)));
  headers.put(
    "grpc-message",
    "grpc-message",
    encodeGrpcMessage(messageOf(body) ?? `${status} ${reasonPhrase(status)}`),
  );
}

/** "error_msg" and "message" are what the gateway and plugins in APISIX's way have in their bodies. */
function messageOf(body: AnswerBody | undefined): string | undefined {
  if (typeof body !== "object" || Buffer.isBuffer(body)) return undefined;
  const { error_msg: own, message } = body as { error_msg?: unknown; message?: unknown };
  const text = own ?? message;
  return typeof text === "string" ? text : undefined;
}
