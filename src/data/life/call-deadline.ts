/**
 * How long a call of gRPC may take: as its client says (`grpc-timeout`), counted from the head of its request. When that is
 * over, the gateway ends it, whatever it waits for, with the status 4; the upstream is told what is left.
 *
 * Looked at when a request over HTTP/2 begins, and when one that a plugin has made a call goes upstream. A plugin may have set an
 * earlier end (`deadlineAt`), and looks after it itself.
 */

import type { HeaderList } from "../../lib/headers.ts";
import { readGrpcTimeout, writeGrpcTimeout } from "../../lib/grpc-timeout.ts";
import * as answers from "../exchange/answers.ts";
import type { HttpExchange } from "../exchange/exchange.ts";
import { isGrpcType } from "../http2/request-fields.ts";

/** The longest that a timer can wait. */
const LONGEST_MS = 0x7fff_ffff;

/** False: the time is over already. A value that is no timeout goes on as it is. */
export function beginCall(x: HttpExchange): boolean {
  if (!isCall(x)) return true;
  x.transport.holdOpen();
  const asked = x.request.headers.get("grpc-timeout");
  if (asked === undefined) return true;
  const timeoutMs = readGrpcTimeout(asked);
  if (timeoutMs === null) return true;
  const endsAt = x.startedAt + timeoutMs;
  x.deadlineAt = Math.min(x.deadlineAt, endsAt);
  const leftMs = endsAt - performance.now();
  if (leftMs <= 0) return false;
  if (leftMs <= LONGEST_MS) x.callTimer = setTimeout(endCall, leftMs, x);
  return true;
}

/** Into the fields of the request to the upstream. */
export function tellTimeLeft(x: HttpExchange, headers: HeaderList): void {
  if (x.deadlineAt === Infinity || !isCall(x)) return;
  headers.put("grpc-timeout", "grpc-timeout", writeGrpcTimeout(x.deadlineAt - performance.now()));
}

function isCall(x: HttpExchange): boolean {
  const type = x.request.headers.get("content-type");
  return type !== undefined && isGrpcType(type);
}

function endCall(x: HttpExchange): void {
  x.cutOff(answers.DEADLINE_EXCEEDED);
}
