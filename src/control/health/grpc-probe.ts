/**
 * One probe by gRPC's own health protocol: `grpc.health.v1.Health/Check`, in a connection of its own.
 *
 * The two messages have one field each, so they are written and read by hand.
 * Source: https://github.com/grpc/grpc/blob/master/doc/health-checking.md
 */

import { connect } from "node:http2";
import type { SecureContext } from "node:tls";
import type { ActiveChecks } from "../../model/health-checks.ts";
import { hostField, type Probe, type ProbeOutcome } from "./probe.ts";
import type { Target } from "./targets.ts";

const SERVING = 1;
const MAX_ANSWER_BYTES = 1024;

/** Calls `done` once. `context`: over TLS with it, as upstreams with the schemes grpcs and h2 speak; null: in the clear. */
export function startGrpcProbe(
  target: Target,
  checks: ActiveChecks,
  context: SecureContext | null,
  done: (outcome: ProbeOutcome) => void,
): Probe {
  const scheme = context !== null ? "https" : "http";
  const session = connect(`${scheme}://${hostField(target.address)}:${target.port}`, {
    rejectUnauthorized: checks.https_verify_certificate,
    ...(context !== null && { secureContext: context, servername: target.hostHeader }),
  });
  let isOver = false;
  const end = (outcome: ProbeOutcome): void => {
    if (isOver) return;
    isOver = true;
    clearTimeout(timer);
    session.destroy();
    done(outcome);
  };
  const fail = (error: Error): void => end({ outcome: "failed", reason: error.message });
  const timer = setTimeout(() => end({ outcome: "timeout" }), checks.timeout * 1000);
  session.on("error", fail);
  session.once("close", () => end({ outcome: "failed", reason: "closed without an answer" }));
  const stream = session.request({
    ":method": "POST",
    ":path": "/grpc.health.v1.Health/Check",
    ":scheme": scheme,
    ":authority": hostField(target.hostHeader),
    "content-type": "application/grpc",
    te: "trailers",
    "user-agent": "cardea",
  });
  let answer = Buffer.alloc(0);
  let status = "0";
  stream.on("response", (headers) => {
    if (headers[":status"] !== 200) end({ outcome: "serving", isServing: false });
    status = String(headers["grpc-status"] ?? status);
  });
  stream.on("trailers", (trailers) => {
    status = String(trailers["grpc-status"] ?? status);
  });
  stream.on("data", (chunk: Buffer) => {
    if (answer.length <= MAX_ANSWER_BYTES) answer = Buffer.concat([answer, chunk]);
  });
  stream.on("error", fail);
  stream.once("end", () => end({ outcome: "serving", isServing: status === "0" && isServing(answer) }));
  stream.end(checkRequest(checks.grpc_service ?? ""));
  return {
    abort() {
      isOver = true;
      clearTimeout(timer);
      session.destroy();
    },
  };
}

/** HealthCheckRequest { string service = 1 } in a frame of gRPC. */
export function checkRequest(service: string): Buffer {
  const name = Buffer.from(service);
  const message =
    name.length === 0 ? name : Buffer.concat([Buffer.from([0x0a, ...varint(name.length)]), name]);
  const head = Buffer.alloc(5);
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
}

/** HealthCheckResponse { ServingStatus status = 1 }: the only field, so it is the first. */
function isServing(frame: Buffer): boolean {
  return frame.length >= 7 && frame[0] === 0 && frame[5] === 0x08 && frame[6] === SERVING;
}

function varint(value: number): number[] {
  return value < 0x80 ? [value] : [(value & 0x7f) | 0x80, value >>> 7];
}
