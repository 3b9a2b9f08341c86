/** The status of HTTP for that of a call that failed; APISIX's. */

const HTTP_STATUS: Readonly<Record<string, number>> = {
  1: 499, // CANCELLED
  2: 500, // UNKNOWN
  3: 400, // INVALID_ARGUMENT
  4: 504, // DEADLINE_EXCEEDED
  5: 404, // NOT_FOUND
  6: 409, // ALREADY_EXISTS
  7: 403, // PERMISSION_DENIED
  8: 429, // RESOURCE_EXHAUSTED
  9: 400, // FAILED_PRECONDITION
  10: 409, // ABORTED
  11: 400, // OUT_OF_RANGE
  12: 501, // UNIMPLEMENTED
  13: 500, // INTERNAL
  14: 503, // UNAVAILABLE
  15: 500, // DATA_LOSS
  16: 401, // UNAUTHENTICATED
};
const UNKNOWN_STATUS = 599;

/** `status`: as the upstream wrote it, not "0". */
export function httpStatusOf(status: string): number {
  return HTTP_STATUS[status] ?? UNKNOWN_STATUS;
}
