/**
 * The shared memory of a node: made once by the supervisor, opened by every thread, repaired by the
 * supervisor when a thread has died.
 *
 * All sizes are fixed when the node starts. Pages that nothing uses cost no memory, so generous sizes are
 * cheap. `SharedBuffers` is plain data that can be handed to a thread as `workerData`.
 */

import type { SharedMemoryConfig } from "../config/static-config.ts";
import { GaugeLanes } from "./gauge-lanes.ts";
import { laneCount, laneOf, SUPERVISOR_SLOT } from "./lanes.ts";
import { LimitCounters } from "./limit-counters.ts";
import { LimitTable } from "./limit-table.ts";
import { Threads } from "./threads.ts";

export interface SharedBuffers {
  /** Worker slots; control and supervisor have lanes besides. */
  workers: number;
  threads: SharedArrayBuffer;
  gauges: SharedArrayBuffer;
  limits: SharedArrayBuffer;
}

export interface SharedMemory {
  readonly slot: number;
  readonly generation: number;
  readonly threads: Threads;
  readonly gauges: GaugeLanes;
  readonly counters: LimitCounters;
}

/** `slots`: worker slots over all groups. */
export function createSharedMemory(config: SharedMemoryConfig, slots: number): SharedBuffers {
  return {
    workers: slots,
    threads: new SharedArrayBuffer(Threads.bytes(slots)),
    gauges: new SharedArrayBuffer(GaugeLanes.bytes(slots)),
    limits: LimitTable.create(config.limitCounters, slots),
  };
}

/** The view of one thread; `generation` must be another one at each restart of the slot. */
export function openSharedMemory(buffers: SharedBuffers, slot: number, generation: number): SharedMemory {
  if (laneOf(slot) < 0 || laneOf(slot) >= laneCount(buffers.workers)) {
    throw new RangeError(`slot: given ${slot}, expected a worker from 0 to ${buffers.workers - 1}, -1 or -2`);
  }
  return {
    slot,
    generation,
    threads: new Threads(buffers.threads),
    gauges: new GaugeLanes(buffers.gauges, slot),
    counters: new LimitCounters(new LimitTable(buffers.limits, slot, generation)),
  };
}

export interface DeathRepair {
  /** Locks that the dead thread held. */
  brokenLocks: number;
}

/**
 * After the thread has ended, and before its replacement starts: breaks its locks, repairs what they
 * guard, and clears what it had open. Called by the supervisor; takes no lock that a living thread may
 * hold, so it cannot wait.
 */
export function repairAfterDeath(buffers: SharedBuffers, slot: number, generation: number): DeathRepair {
  const limits = new LimitTable(buffers.limits, SUPERVISOR_SLOT, 0);
  new GaugeLanes(buffers.gauges, slot).clear(slot);
  new Threads(buffers.threads).clear(slot);
  return { brokenLocks: limits.repairAfterDeath(slot, generation) };
}
