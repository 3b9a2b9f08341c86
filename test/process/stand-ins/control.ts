/**
 * The smallest real control: it answers on its sockets, greets every worker that it is introduced to, beats and
 * drains. `/die` on any of its ports makes it throw.
 */

import { createServer } from "node:http";
import { parentPort, workerData } from "node:worker_threads";
import type { FromThread, ThreadStart, ToThread } from "../../../src/shared/messages.ts";
import { openSharedMemory } from "../../../src/shared/shared-memory.ts";

const start = workerData as ThreadStart;
const { threads } = openSharedMemory(start.shared, start.slot, start.generation);
setInterval(() => threads.beat(start.slot), start.config.supervision.heartbeatMs);

if (start.config.metrics.prefix === "fatal") say({ type: "fatal", message: "the store cannot be read" });

const servers = start.listeners.map(({ fd }) =>
  createServer((request, response) => {
    if (request.url === "/die") throw new Error("control dies on purpose");
    response.setHeader("connection", "close");
    response.end(JSON.stringify({ pid: process.pid, generation: start.generation }));
  }).listen({ fd }),
);
say({ type: "ready" });

parentPort!.on("message", (message: ToThread) => {
  if (message.type === "peer") message.port.postMessage("hello");
  if (message.type !== "drain") return;
  for (const server of servers) server.close();
  say({ type: "drained" });
});

function say(message: FromThread): void {
  parentPort!.postMessage(message);
}
