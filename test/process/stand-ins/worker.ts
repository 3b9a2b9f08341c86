/**
 * The smallest real worker: it answers HTTP on its sockets, beats, drains, and misbehaves when a path asks for it.
 * Answers hold its slot, generation and process, so that a test sees who served it.
 */

import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { Server } from "node:net";
import { parentPort, workerData, type MessagePort } from "node:worker_threads";
import { createLog } from "../../../src/lib/log.ts";
import type { FromThread, ThreadStart, ToThread } from "../../../src/shared/messages.ts";
import { openSharedMemory } from "../../../src/shared/shared-memory.ts";

const start = workerData as ThreadStart;
const { threads } = openSharedMemory(start.shared, start.slot, start.generation);
setInterval(() => threads.beat(start.slot), start.config.supervision.heartbeatMs);

const log = createLog("worker", "info", { slot: start.slot });

let isDraining = false;
let open = 0;
/** Messages that control sent over the brokered port. */
let greetings = 0;

const marker = start.config.metrics.prefix;
if (marker === "broken") throw new Error("this worker cannot start");

const servers = start.listeners.map((listener) => {
  const server = createServer(answer);
  server.on("connection", (socket) => {
    open++;
    socket.once("close", () => {
      open--;
      endIfDrained();
    });
  });
  server.listen({ fd: listener.fd }, () => {
    ready();
  });
  return server;
});

let listening = 0;
function ready(): void {
  if (++listening === servers.length) say({ type: "ready" });
}

function answer(request: IncomingMessage, response: ServerResponse): void {
  switch (request.url) {
    case "/throw":
      setImmediate(() => {
        throw new Error("thrown on purpose");
      });
      return;
    case "/exit":
      process.exit(3);
      return;
    case "/loop":
      for (;;);
    case "/slow":
      response.write("{");
      parentPort!.once("message", () => setImmediate(() => response.end("}")));
      return;
    case "/never":
      response.write("{");
      return;
    case "/heap":
      fillHeap();
      return;
  }
  if (isDraining) response.setHeader("connection", "close");
  const { slot, generation } = start;
  const { pid } = process;
  setTimeout(() => response.end(JSON.stringify({ slot, generation, pid, marker, greetings })), 1);
}

function fillHeap(): void {
  const kept: number[][] = [];
  for (;;) kept.push(Array.from({ length: 10_000 }, (_, i) => i));
}

parentPort!.on("message", (message: ToThread) => {
  if (message.type === "peer") greet(message.port);
  if (message.type === "reopen") log.info("logs reopened");
  if (message.type !== "drain") return;
  isDraining = true;
  // Not http's own close(): that one also ends accepted connections whose first request has not been read yet.
  for (const server of servers) Server.prototype.close.call(server);
  endIfDrained();
});

function greet(port: MessagePort): void {
  port.on("message", () => greetings++);
}

function endIfDrained(): void {
  if (isDraining && open === 0) say({ type: "drained" });
}

function say(message: FromThread): void {
  parentPort!.postMessage(message);
}
