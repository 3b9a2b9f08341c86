/**
 * The bind child: a short-lived process that reads the static configuration for the launcher, binds the sockets
 * that it needs and does not hold yet, and sends their handles to it.
 *
 * Why a child: the launcher may run on a Node.js that knows no `reusePort` and strips no types, and a server that
 * it had opened itself would take connections that belong to workers. A handle that came over IPC is owned but
 * never polled: connections wait in the kernel's queue until a thread of the node process listens on a duplicate.
 * Here each server is closed in the same turn of the loop in which it began to listen, before it can accept. It
 * touches `server._handle`, as `cluster` does.
 *
 * What was measured for this on Node 24.21, with the launcher on 20.20 (not repeated with the launcher on 24.21):
 * 48 clients on fresh connections, two workers of which one is replaced every 0.7 s for 8 s: draining loses 0 of
 * 109,486, `terminate()` about 20 of 8,000 each time (exchanges that were accepted already). A thread's fd is closed with it.
 *
 * Two processes can listen on one `reusePort` port without an error, so a port is probed without it first: a
 * second node on the same port is an error that names the port, and not a silent half of the traffic. Two that
 * start at the same moment would both find it free: on Linux a name that only one can hold goes with each port.
 */

import type { SendHandle } from "node:child_process";
import { once } from "node:events";
import { createServer, type ListenOptions, type Server } from "node:net";
import { join } from "node:path";
import type { StaticConfig } from "../config/static-config.ts";
import { fillCompileCache } from "./compile-cache.ts";
import type { BindRequest, FromBind, SocketPlan } from "./protocol.ts";
import { isListenedOn } from "./port-probe.ts";
import { guardName, isDataListener, isGuard, planSockets } from "./socket-plan.ts";
import { testParts, threadEntries } from "./test-parts.ts";

/** Connections that wait for a worker, per socket. The kernel cuts it to net.core.somaxconn. */
const BACKLOG = 4096;

const canBalance = process.platform !== "darwin";

class BindError extends Error {
  override name = "BindError";
}

process.once("disconnect", () => process.exit(0));
process.once("message", (request: BindRequest) => void answer(request));

async function answer(request: BindRequest): Promise<void> {
  try {
    const { config, warnings } = await loadConfig(request);
    const sockets = await bindAll(planSockets(config, canBalance), request.held);
    await fillCompileCacheOf(request.dataFolder);
    await say({ type: "planned", config, warnings, sockets });
  } catch (error) {
    await say({ type: "failed", message: printable(error) });
  }
  process.disconnect();
}

async function fillCompileCacheOf(dataFolder: string): Promise<void> {
  const folder = join(dataFolder, "compile-cache");
  const parts = testParts();
  const isOperators = process.env["NODE_COMPILE_CACHE"] !== folder;
  if (isOperators || parts.control !== undefined || parts.worker !== undefined) return;
  const { control, worker } = threadEntries();
  const main = new URL(import.meta.url.endsWith(".ts") ? "main.ts" : "main.js", import.meta.url);
  try {
    await fillCompileCache(folder, [worker, control, main]);
  } catch {
    // A folder that cannot be written: the node process will say so, and needs no cache.
  }
}

async function loadConfig(request: BindRequest): Promise<{ config: StaticConfig; warnings: string[] }> {
  const { config } = testParts();
  if (config !== undefined) return { config, warnings: [] };
  // Imported late: the loader brings the YAML parser, which a run with stand-ins does not need.
  const { loadStaticConfig } = await import("../config/load.ts");
  return loadStaticConfig({ file: request.file, dataFolder: request.dataFolder, env: process.env });
}

async function bindAll(planned: SocketPlan[], held: SocketPlan[]): Promise<SocketPlan[]> {
  const sockets: SocketPlan[] = [];
  const heldPorts = new Set(held.filter((socket) => !isGuard(socket)).map(place));
  const given = new Map<string, number>();
  for (const wanted of planned) {
    const known = held.find((socket) => socket.key === wanted.key);
    if (isGuard(wanted)) {
      sockets.push(known ?? (await bind(wanted)));
      continue;
    }
    if (known !== undefined) {
      given.set(place(wanted), known.port);
      sockets.push({ ...wanted, port: known.port });
      continue;
    }
    // Port 0 (any free one) is chosen by the first slot's socket and taken over by the others.
    const port = given.get(place(wanted)) ?? wanted.port;
    const isOurs = given.has(place(wanted)) || heldPorts.has(place(wanted));
    if (!isOurs && port !== 0) await probe(wanted);
    const socket = await bind({ ...wanted, port });
    given.set(place(wanted), socket.port);
    sockets.push(socket);
  }
  return sockets;
}

/** The listener that a socket is one of. */
function place(socket: SocketPlan): string {
  return `${isDataListener(socket) ? "data" : socket.purpose} ${socket.address} ${socket.port}`;
}

/** Fails when any other process listens there, a `reusePort` listener too. */
async function probe(socket: SocketPlan): Promise<void> {
  const { address, port } = socket;
  if (address !== "::") {
    const isTaken = await isListenedOn(address, port);
    if (isTaken) throw new BindError(bindProblem({ code: "EADDRINUSE", message: "taken" }, socket));
    return;
  }
  // Of a client's socket on "::" it cannot be said that it is for IPv6 only.
  const server = createServer();
  await listen(server, socket, false, () => Promise.resolve());
}

async function bind(socket: SocketPlan): Promise<SocketPlan> {
  const server = createServer();
  const bound = { ...socket };
  const balances = isDataListener(socket) && canBalance;
  await listen(server, socket, balances, (handle) => {
    const address = server.address();
    if (address !== null && typeof address === "object") bound.port = address.port;
    // Node queues a handle until the one before is acknowledged, and sends it too late if it was closed meanwhile.
    const got = once(process, "message");
    return say({ type: "bound", socket: bound }, handle).then(() => got);
  });
  return bound;
}

/** Listens, hands the handle to `use`, and closes before the loop can accept a connection. */
function listen(
  server: Server & { _handle?: unknown },
  socket: SocketPlan,
  reusePort: boolean,
  use: (handle: SendHandle) => Promise<unknown>,
): Promise<void> {
  const { address, port } = socket;
  const ipv6Only = address.includes(":");
  const options: ListenOptions = isGuard(socket)
    ? { path: guardName(socket) }
    : { host: address, port, backlog: BACKLOG, reusePort, exclusive: true, ipv6Only };
  return new Promise((resolve, reject) => {
    server.once("error", (error: NodeJS.ErrnoException) => reject(new BindError(bindProblem(error, socket))));
    server.listen(options, () => {
      const used = use(server._handle as SendHandle);
      server.close(() => void used.then(() => resolve(), reject));
    });
  });
}

function bindProblem(error: Pick<NodeJS.ErrnoException, "code" | "message">, socket: SocketPlan): string {
  const { purpose, address, port } = socket;
  const what = `cannot listen on ${address} port ${port} (${purpose})`;
  switch (error.code) {
    case "EADDRINUSE":
      return `${what}: another process listens there, possibly another Cardea; stop it or choose another port`;
    case "EACCES":
      return `${what}: permission denied; use a port above 1023 or grant CAP_NET_BIND_SERVICE`;
    case "EADDRNOTAVAIL":
    case "ENOTFOUND":
      return `${what}: this machine has no such address`;
    default:
      return `${what}: ${error.message}`;
  }
}

function printable(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const isOperators = error.name === "ConfigError" || error.name === "BindError";
  return isOperators ? error.message : (error.stack ?? error.message);
}

function say(message: FromBind, handle?: SendHandle): Promise<void> {
  return new Promise((resolve, reject) => {
    process.send!(message, handle, {}, (error) => (error === null ? resolve() : reject(error)));
  });
}
