/** `cardea.supervision`: when a thread counts as dead, how long a drain may take, and how much heap a worker has. */

import { totalmem } from "node:os";
import { duration, section, size } from "./kinds.ts";
import type { ResolveInput } from "./resolve.ts";
import type { SupervisionConfig } from "./static-config.ts";

const DAY_MS = 86_400_000;
const GIBIBYTE = 1024 ** 3;
const MEBIBYTE = 1024 ** 2;

export const supervisionSection = section({
  heartbeat: duration({
    default: "500ms",
    minimum: 50,
    maximum: 60_000,
    description: "How often each thread says that it lives.",
  }),
  stale_after: duration({
    default: "10s",
    minimum: 500,
    maximum: 3_600_000,
    description: "A thread that was silent for longer is replaced.",
  }),
  drain_timeout: duration({
    default: "30s",
    maximum: DAY_MS,
    description: "Longest time for exchanges to end at a stop or an upgrade.",
  }),
  worker_heap: size({
    default: 0,
    maximum: 64 * GIBIBYTE,
    description: "Heap limit of a worker. 0: half of the memory shared by the workers, from 256m to 2g each.",
  }),
});

export function supervision({ filled, given, addProblem }: ResolveInput, workers: number): SupervisionConfig {
  const section = filled.cardea.supervision;
  if (section.stale_after < 2 * section.heartbeat) {
    addProblem(
      ["cardea", "supervision", "stale_after"],
      `given ${section.stale_after} ms, expected at least twice the heartbeat (${section.heartbeat} ms)`,
    );
  }
  return {
    heartbeatMs: section.heartbeat,
    staleAfterMs: section.stale_after,
    drainTimeoutMs:
      given.cardea?.supervision?.drain_timeout ??
      given.nginx_config?.worker_shutdown_timeout ??
      section.drain_timeout,
    workerHeapMb:
      section.worker_heap === 0 ? automaticHeapMb(workers) : Math.ceil(section.worker_heap / MEBIBYTE),
  };
}

/** Half of the memory (of the container, if it is bounded) shared by the workers. */
function automaticHeapMb(workers: number): number {
  const constrained = process.constrainedMemory();
  const memory = constrained > 0 ? Math.min(constrained, totalmem()) : totalmem();
  return Math.min(2048, Math.max(256, Math.floor(memory / 2 / workers / MEBIBYTE)));
}
