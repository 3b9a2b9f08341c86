/**
 * What the launcher says to the processes that it starts, and they to it, as JSON over Node's IPC channel.
 *
 * The launcher is plain JavaScript of possibly another Cardea version: during an upgrade an old launcher talks to
 * new processes. Messages may gain fields; a receiver ignores types that it does not know.
 */

import type { ListenerConfig, StaticConfig } from "../config/static-config.ts";

/** One listening socket. Sockets of the data path exist once per worker slot; the others belong to control. */
export interface SocketPlan extends ListenerConfig {
  /** Equal for a socket that an upgrade can take over as it is. */
  key: string;
  /** Whose it is; absent: the node's own. */
  tenant?: string;
  /** Threads that serve it: slots of workers (of the tenant, numbered from 0), or `CONTROL_SLOT`. */
  slots: number[];
}

export const CONTROL_SLOT = -1;

/** Exit code of a process that met a mistake of the operator: the launcher ends with it and restarts nothing. */
export const EXIT_FATAL = 78;

/** Launcher → bind child. */
export interface BindRequest {
  type: "bind";
  /** Absent: no file, all defaults. */
  file?: string;
  dataFolder: string;
  /** Sockets that the launcher holds already, with the ports they really have. */
  held: SocketPlan[];
}

/** Launcher → bind child, for every `bound`: only then may the next handle be sent. */
export interface BindReceipt {
  type: "got";
}

/** Bind child → launcher; exactly one of `planned` and `failed` comes last. */
export type FromBind =
  /** With the handle of the socket. */
  | { type: "bound"; socket: SocketPlan }
  | { type: "planned"; config: StaticConfig; warnings: string[]; sockets: SocketPlan[] }
  /** Printable, possibly several lines. */
  | { type: "failed"; message: string };

/** Launcher → node process. */
export type ToNode =
  | {
      type: "start";
      config: StaticConfig;
      warnings: string[];
      dataFolder: string;
      sockets: SocketPlan[];
      /** An old node serves until this one does, and goes on if this one cannot. */
      isUpgrade: boolean;
    }
  /** Answer to `take`, with the handle of a fresh duplicate; `held` false: there is no such socket. */
  | { type: "socket"; request: number; held: boolean }
  /** Finish what runs, then exit 0. */
  | { type: "drain" }
  /** Exit 0 at once. */
  | { type: "stop" }
  | { type: "reopen" }
  /** An upgrade begins: end control and let go of the data folder, but keep serving traffic. */
  | { type: "yield" }
  /** The upgrade was given up: take the data folder back and start control again. */
  | { type: "resume" }
  /** Drain this worker and start a new one on its sockets. */
  | { type: "replace"; slot: number };

/** Node process → launcher. */
export type FromNode =
  /** Asks for a duplicate of the socket with this key. */
  | { type: "take"; request: number; key: string }
  /** All threads serve. */
  | { type: "ready" }
  | { type: "yielded" }
  | { type: "replaced"; slot: number }
  /** It ends on purpose, with this code. */
  | { type: "ending"; code: number };
