/**
 * Everything that threads say to each other, in one place. Bulk data never travels in a message: it stands
 * in shared memory, and the message names it.
 */

import type { MessagePort } from "node:worker_threads";
import type { StaticConfig, StreamListenerConfig } from "../config/static-config.ts";
import type { DescribedRequest, Explanation, ExplanationFailure } from "./explanation.ts";
import type { SharedBuffers } from "./shared-memory.ts";

/** `workerData` of every thread. */
export interface ThreadStart {
  role: "control" | "worker";
  /** Worker slots are numbered from 0 over all groups; control has slot -1. */
  slot: number;
  /** Grows with every (re)start of this slot: shared memory uses it to tell a dead holder from a live one. */
  generation: number;
  group: string;
  shared: SharedBuffers;
  config: StaticConfig;
  dataFolder: string;
  /** Sockets that this thread serves, already bound: `listen({ fd })`. */
  listeners: ListenerHandle[];
  /** With which all workers encrypt TLS session tickets, 48 bytes; null: there are no tickets. */
  ticketKeys: Uint8Array | null;
}

export interface ListenerHandle {
  purpose: "http" | "https" | "stream-tcp" | "stream-udp" | "admin" | "control" | "metrics" | "status";
  address: string;
  port: number;
  fd: number;
  proxyProtocol: boolean;
  /** Of stream listeners alone. */
  stream?: StreamListenerConfig;
}

/** Supervisor → thread. */
export type ToThread =
  /** To control: a worker's port, whenever either of the two (re)started. To a worker: its port to control. */
  | { type: "peer"; slot: number; generation: number; group: string; port: MessagePort }
  /** To control, where tenants share one connection to the store: a port to who holds it, whenever either (re)started. */
  | { type: "store-link"; port: MessagePort }
  /** Stop accepting, finish what runs, then answer `drained`. */
  | { type: "drain"; timeoutMs: number }
  /** Reopen log files. */
  | { type: "reopen" };

/** Thread → supervisor. */
export type FromThread =
  /** It serves: a worker has its first configuration and listens; control answers its ports. */
  | { type: "ready" }
  | { type: "drained" }
  /** A mistake of the operator or of the machine that a restart cannot mend: the node stops with this text. */
  | { type: "fatal"; message: string };

/** Supervisor → the thread that holds the connection to the store. */
export interface ToStoreLink {
  type: "serve";
  /** Whose other end a control thread has. */
  port: MessagePort;
}

/** That thread → supervisor: it is alive. */
export interface FromStoreLink {
  type: "beat";
}

/** Worker → control, over their port. */
export type WorkerToControl =
  /** First message after start or after a new control: what the worker has (0: nothing). */
  | { type: "hello"; revision: number }
  /** One item could not be compiled here, although control had accepted it. */
  | { type: "refused"; kind: string; id: string; reason: string }
  /** A client of a route with `public-api` asks for the metrics page. Answered with `page`. */
  | { type: "metrics"; request: number; accept: string | undefined }
  /** The answer to `explain`. */
  | { type: "explained"; question: number; explanation: Explanation | ExplanationFailure }
  /** The answer to the question of the same type. */
  | { type: "in-flight"; question: number; count: number };

/** Control → worker. */
export type ControlToWorker = ConfigurationMessage | PageMessage | ExplainMessage | InFlightQuestion;

/** How many attempts run on a node of an upstream? */
export interface InFlightQuestion {
  type: "in-flight";
  question: number;
  upstream: string;
  host: string;
  port: number;
}

/** What would become of this request? Answered with `explained`; nothing is sent anywhere. */
export interface ExplainMessage {
  type: "explain";
  question: number;
  request: DescribedRequest;
}

/** Applied revisions are acknowledged in shared memory (`Threads.acknowledge`). */
export type ConfigurationMessage =
  /** Everything: the worker diffs it against what it has. Items that are not in it are deleted. */
  | { type: "snapshot"; revision: number; bytes: SharedArrayBuffer }
  | { type: "delta"; revision: number; bytes: SharedArrayBuffer };

/** The answer to `metrics`. */
export interface PageMessage {
  type: "page";
  request: number;
  status: number;
  contentType: string;
  body: Uint8Array;
}
