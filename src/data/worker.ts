/**
 * A worker: the thread that carries traffic, and nothing else.
 *
 * It takes configuration from control over a port, serves the listening sockets that the supervisor gives it,
 * and tells how it is through shared memory. It starts to listen once it has its first configuration.
 */

import { parentPort, workerData, type MessagePort } from "node:worker_threads";
import { join } from "node:path";
import type {
  ControlToWorker,
  ExplainMessage,
  FromThread,
  InFlightQuestion,
  ThreadStart,
  ToThread,
  WorkerToControl,
} from "../shared/messages.ts";
import type { AccessLogConfig } from "../config/static-config.ts";
import { compactHeap } from "../lib/compact-heap.ts";
import { createLog } from "../lib/log.ts";
import { openSharedMemory } from "../shared/shared-memory.ts";
import { Gateway } from "./gateway.ts";

const start = workerData as ThreadStart;
const { config, slot } = start;
const owner = config.tenant === null ? {} : { tenant: config.tenant };
const log = createLog("worker", config.log.level, { slot, ...owner });
const shared = openSharedMemory(start.shared, slot, start.generation);

const gateway = new Gateway({
  config,
  slot,
  shared,
  log,
  ticketKeys: start.ticketKeys === null ? null : Buffer.from(start.ticketKeys),
  accessLogPath: logPath(config.accessLog),
  streamLogPath: logPath(config.stream.accessLog),
});

function logPath({ path }: AccessLogConfig): string | null {
  return path === null || path === "-" ? path : join(start.dataFolder, path);
}

let control: MessagePort | null = null;
let isListening = false;

gateway.applier.onApplied = (revision) => {
  shared.threads.acknowledge(slot, revision);
  if (isListening) return;
  isListening = true;
  // What loading the modules and taking the first configuration left behind.
  compactHeap();
  gateway.listen(start.listeners).then(
    () => tell({ type: "ready" }),
    (error: unknown) => tell({ type: "fatal", message: `worker ${slot} cannot listen: ${String(error)}` }),
  );
};
gateway.applier.onRefused = (kind, id, reason) => {
  log.error("configuration item refused", { kind, id, reason });
  control?.postMessage({ type: "refused", kind, id, reason } satisfies WorkerToControl);
};

parentPort!.on("message", (message: ToThread) => {
  switch (message.type) {
    case "peer":
      connectControl(message.port);
      break;
    case "drain":
      void drain(message.timeoutMs);
      break;
    case "reopen":
      gateway.reopenLogs();
      break;
  }
});

function connectControl(port: MessagePort): void {
  control?.close();
  control = port;
  port.on("message", (message: ControlToWorker) => {
    if (message.type === "page") gateway.controlPages.take(message);
    else if (message.type === "explain") explain(port, message);
    else if (message.type === "in-flight") tellInFlight(port, message);
    else gateway.applier.take(message);
  });
  gateway.controlPages.send = (message) => port.postMessage(message);
  port.postMessage({ type: "hello", revision: shared.threads.applied(slot) } satisfies WorkerToControl);
}

function tellInFlight(port: MessagePort, { question, upstream, host, port: at }: InFlightQuestion): void {
  const count = gateway.configuration.currentUpstream(upstream)?.inFlight(host, at) ?? 0;
  port.postMessage({ type: "in-flight", question, count } satisfies WorkerToControl);
}

function explain(port: MessagePort, { question, request }: ExplainMessage): void {
  const explanation = gateway.explainer.explain(request);
  port.postMessage({ type: "explained", question, explanation } satisfies WorkerToControl);
}

async function drain(timeoutMs: number): Promise<void> {
  await gateway.drain(timeoutMs);
  log.flush();
  tell({ type: "drained" });
}

function tell(message: FromThread): void {
  parentPort!.postMessage(message);
}

const heartbeat = setInterval(() => shared.threads.beat(slot), config.supervision.heartbeatMs);
heartbeat.ref();
shared.threads.beat(slot);
