/** A gateway under measurement, whichever it is: a process tree that answers on a port. */

import { connect } from "node:net";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { pause } from "../processes.ts";

export interface Peer {
  name: string;
  process: ChildProcess;
  port: number;
  /** Speaks TLS. */
  isSecure?: boolean;
}

const POLL_MS = 20;

/** Resolves when `check` does not throw; rejects with its last error when the process ends or time is over. */
export async function untilReady(
  child: ChildProcess,
  timeoutMs: number,
  logFile: string,
  check: () => Promise<void>,
): Promise<void> {
  const giveUpAt = performance.now() + timeoutMs;
  for (;;) {
    try {
      await check();
      return;
    } catch (error) {
      const ended = child.exitCode !== null || child.signalCode !== null;
      if (ended || performance.now() > giveUpAt) {
        throw new Error(`${ended ? "it ended" : "it is not ready in time"}, see ${logFile}`, {
          cause: error,
        });
      }
    }
    await pause(POLL_MS);
  }
}

export async function portOpens(port: number): Promise<void> {
  const socket = connect(port, "127.0.0.1");
  try {
    await once(socket, "connect");
  } finally {
    socket.destroy();
  }
}
