/**
 * What went wrong in a call to etcd, sorted by what is to be done about it. etcd says which error it is by the
 * gRPC status, and where that has several, by its text (api/v3/rpctypes of etcd).
 */

import type { ServiceError } from "@grpc/grpc-js";

/** Of gRPC; grpc-js has them too, but only who holds a connection has a use for that. */
const status = {
  CANCELLED: 1,
  UNKNOWN: 2,
  INVALID_ARGUMENT: 3,
  DEADLINE_EXCEEDED: 4,
  PERMISSION_DENIED: 7,
  RESOURCE_EXHAUSTED: 8,
  FAILED_PRECONDITION: 9,
  ABORTED: 10,
  OUT_OF_RANGE: 11,
  INTERNAL: 13,
  UNAVAILABLE: 14,
  UNAUTHENTICATED: 16,
} as const;

/** Of what a server says. */
const LONGEST_TEXT = 1000;

export type FaultKind =
  /** This member does not answer: another may. What was asked may have been done. */
  | "down"
  /** It answers, but the cluster has no leader now, or is overloaded: later, here or elsewhere. */
  | "later"
  /** The token is not good any more. */
  | "token"
  /** The server has no users: go on without a token. */
  | "no-users"
  /** The revision is not kept any more, or is not there yet: as after a restore. */
  | "revision"
  /** The answer exceeds what we take. */
  | "large-answer"
  /** What is asked is more than it takes at once. */
  | "too-much"
  /** No permission for these keys. */
  | "forbidden"
  /** It will not be done, however often it is asked. */
  | "refused";

export class EtcdFault extends Error {
  readonly kind: FaultKind;
  /** Nothing can have been done: no connection stood. */
  readonly isUnsent: boolean;

  constructor(kind: FaultKind, message: string, isUnsent = false, options?: ErrorOptions) {
    super(message, options);
    this.name = "EtcdFault";
    this.kind = kind;
    this.isUnsent = isUnsent;
  }
}

export function faultOf(error: unknown): EtcdFault {
  if (error instanceof EtcdFault) return error;
  const { code, details, message } = error as Partial<ServiceError>;
  const text = details ?? message ?? String(error);
  return new EtcdFault(kindOf(code, text), readable(text), isUnsent(code, text), { cause: error });
}

/** Without what gRPC adds for those who debug it; that stands in the cause. */
function readable(text: string): string {
  if (text.startsWith("Deadline exceeded")) return "no answer in time";
  const unconnected = /^No connection established\. Last error: (.*?)(?: Resolution note: .*)?$/s.exec(text);
  if (unconnected !== null) return unconnected[1].replace(/^Error: /, "");
  return text
    .replace(/^rpc error: code = \w+ desc = /, "")
    .replace(/^(?:etcdserver|grpc): /, "")
    .slice(0, LONGEST_TEXT);
}

/** Reasons for which a watch is cancelled come as text alone. */
export function faultOfReason(reason: string): EtcdFault {
  const kind = /auth token|auth store is old/.test(reason)
    ? "token"
    : /permission denied|user name is empty/.test(reason)
      ? "forbidden"
      : "later";
  return new EtcdFault(kind, readable(reason));
}

function kindOf(code: number | undefined, text: string): FaultKind {
  switch (code) {
    case status.UNAVAILABLE:
      return text.startsWith("etcdserver: ") ? "later" : "down";
    case status.DEADLINE_EXCEEDED:
    case status.CANCELLED:
    case status.INTERNAL:
    case status.UNKNOWN:
    case status.ABORTED:
      return "down";
    case status.UNAUTHENTICATED:
      return "token";
    case status.OUT_OF_RANGE:
      return "revision";
    case status.PERMISSION_DENIED:
      return "forbidden";
    case status.RESOURCE_EXHAUSTED:
      if (text.includes("too many requests")) return "later";
      // Theirs; ours begins with a capital.
      if (text.includes("received message larger than max")) return "too-much";
      return text.startsWith("Received message larger than max") ? "large-answer" : "refused";
    case status.FAILED_PRECONDITION:
      return text.includes("authentication is not enabled") ? "no-users" : "later";
    case status.INVALID_ARGUMENT:
      if (text.includes("auth store is old")) return "token";
      if (/request is too large|too many operations/.test(text)) return "too-much";
      return text.includes("user name is empty") ? "forbidden" : "refused";
    default:
      return "refused";
  }
}

function isUnsent(code: number | undefined, text: string): boolean {
  return code === status.UNAVAILABLE && text.startsWith("No connection established");
}
