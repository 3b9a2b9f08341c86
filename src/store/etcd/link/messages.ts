/**
 * What control threads and the link say to each other, over a port for each. Connections, calls and streams have
 * numbers that the control thread gives.
 */

import type { MessagePort } from "node:worker_threads";
import type { ConnectorConfig } from "../channel.ts";
import type { FaultKind } from "../faults.ts";

export interface SentFault {
  kind: FaultKind;
  message: string;
  isUnsent: boolean;
}

export type ToLink =
  /** Answered with `connected`, or by the fault of the first call. */
  | { type: "connect"; connection: number }
  /** Answered with `answer` or `fault`. */
  | {
      type: "call";
      connection: number;
      call: number;
      path: string;
      bytes: Uint8Array;
      token: string | null;
      deadlineMs: number;
    }
  /** Followed by `bytes` and at last `ended`. */
  | { type: "open"; connection: number; stream: number; path: string; token: string | null }
  | { type: "send"; stream: number; bytes: Uint8Array }
  /** So many bytes of a stream were read: as many more may come. */
  | { type: "took"; stream: number; count: number }
  | { type: "cancel"; stream: number }
  | { type: "leave"; connection: number };

export type FromLink =
  | { type: "connected"; connection: number; url: string }
  | { type: "answer"; call: number; bytes: Uint8Array<ArrayBuffer> }
  | { type: "fault"; call: number; fault: SentFault }
  | { type: "bytes"; stream: number; bytes: Uint8Array<ArrayBuffer> }
  | { type: "ended"; stream: number; fault: SentFault };

/** `workerData` of the link. */
export interface LinkStart {
  /** The node's store. */
  config: ConnectorConfig;
  heartbeatMs: number;
}

/** Supervisor → link: a control thread has the other end. */
export interface LinkTask {
  port: MessagePort;
}
