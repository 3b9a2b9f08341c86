/**
 * What a status of HTTP means in gRPC, and how gRPC writes texts about it.
 *
 * As in https://github.com/grpc/grpc/blob/master/doc/http-grpc-status-mapping.md, more exact where gRPC has a status for it.
 */

const UNKNOWN = 2;
const GRPC_STATUS: Readonly<Record<number, number>> = {
  400: 13, // INTERNAL
  401: 16, // UNAUTHENTICATED
  403: 7, // PERMISSION_DENIED
  404: 12, // UNIMPLEMENTED
  408: 4, // DEADLINE_EXCEEDED
  413: 8, // RESOURCE_EXHAUSTED
  429: 8,
  500: 13,
  502: 14, // UNAVAILABLE
  503: 14,
  504: 4,
};

/** Of an answer of HTTP that says nothing of gRPC itself. 2: there is none for it. */
export function grpcStatusOf(httpStatus: number): number {
  return GRPC_STATUS[httpStatus] ?? UNKNOWN;
}

/** Value of `grpc-message`, percent-encoded as gRPC wants it: visible ASCII but "%" stays. */
export function encodeGrpcMessage(message: string): string {
  return message.replaceAll(/[^ -$&-~]+/g, (part) => encodeURIComponent(part.toWellFormed()));
}
