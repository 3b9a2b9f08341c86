/** The field `grpc-timeout`: how long a client waits, as at most eight digits and a unit (gRPC's protocol over HTTP/2). */

const TIMEOUT = /^(\d{1,8})([HMSmun])$/;
const UNIT_MS: Readonly<Record<string, number>> = {
  H: 3_600_000,
  M: 60_000,
  S: 1000,
  m: 1,
  u: 1e-3,
  n: 1e-6,
};
const MOST = 99_999_999;

/** Milliseconds; null: that is no timeout. */
export function readGrpcTimeout(value: string): number | null {
  const found = TIMEOUT.exec(value);
  return found === null ? null : Number(found[1]) * UNIT_MS[found[2]];
}

/** In the finest unit that has room for it, rounded down, but never nothing. */
export function writeGrpcTimeout(leftMs: number): string {
  const us = Math.max(1, Math.floor(leftMs * 1000));
  if (us <= MOST) return `${us}u`;
  if (leftMs <= MOST) return `${Math.floor(leftMs)}m`;
  return `${Math.min(MOST, Math.floor(leftMs / 1000))}S`;
}
