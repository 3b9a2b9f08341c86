/**
 * The listening sockets that the launcher owns, and how it comes by them.
 *
 * A bind child reads the configuration, binds what is missing and sends the handles (src/supervisor/bind.ts tells
 * why). They are never polled here: a connection waits in the kernel until a thread listens on a duplicate.
 */

import { fork } from "node:child_process";
import { findNode, modulePath, NODE_FLAGS, nodeEnvironment } from "./find-node.js";

/** Reading a configuration and binding: beyond this something hangs (a file on a dead network mount, say). */
const BIND_TIMEOUT_MS = 60_000;

export class HeldSockets {
  /** By key: the socket as it was bound, and its handle. */
  #held = new Map();

  /** Binds what the configuration needs. Throws an Error with a printable message; nothing has changed then. */
  async prepare({ file, dataFolder }) {
    const held = [...this.#held.values()].map(({ socket }) => socket);
    const plan = await runBindChild({ type: "bind", file, dataFolder, held });
    const added = plan.bound.map(({ socket }) => socket.key);
    for (const { socket, handle } of plan.bound) this.#held.set(socket.key, { socket, handle });
    const { config, warnings, sockets } = plan;
    return { config, warnings, sockets, added };
  }

  get(key) {
    return this.#held.get(key)?.handle ?? null;
  }

  close(keys) {
    for (const key of keys) {
      this.#held.get(key)?.handle.close();
      this.#held.delete(key);
    }
  }

  /** Closes all but these. */
  keepOnly(sockets) {
    const kept = new Set(sockets.map((socket) => socket.key));
    this.close([...this.#held.keys()].filter((key) => !kept.has(key)));
  }
}

function runBindChild(request) {
  return new Promise((resolve, reject) => {
    const child = fork(modulePath("supervisor/bind"), [], {
      execPath: findNode(),
      execArgv: NODE_FLAGS,
      env: nodeEnvironment(request.dataFolder),
    });
    const bound = [];
    let planned = null;
    let problem = null;
    const timer = setTimeout(() => {
      problem = `reading the configuration took longer than ${BIND_TIMEOUT_MS} ms`;
      child.kill("SIGKILL");
    }, BIND_TIMEOUT_MS);
    child.on("message", (message, handle) => {
      if (message.type === "bound") {
        bound.push({ socket: message.socket, handle });
        child.send({ type: "got" });
      } else if (message.type === "planned") planned = message;
      else if (message.type === "failed") problem = message.message;
    });
    child.once("error", (error) => {
      problem ??= error.message;
    });
    child.once("close", (code, signal) => {
      clearTimeout(timer);
      if (planned !== null && problem === null) {
        resolve({ ...planned, bound });
        return;
      }
      for (const { handle } of bound) handle.close();
      reject(new Error(problem ?? `the process that binds the sockets ended with ${signal ?? code}`));
    });
    child.send(request);
  });
}
