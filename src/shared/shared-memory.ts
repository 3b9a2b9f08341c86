/**
 * The shared memory of a node: made once by the supervisor, opened by every thread, repaired by the
 * supervisor when a thread has died.
 *
 * All sizes are fixed when the node starts. Pages that nothing uses cost no memory, so generous sizes are
 * cheap. `SharedBuffers` is plain data that can be handed to a thread as `workerData`.
 */

import type { SharedMemoryConfig } from "../config/static-config.ts";
import { DictionaryTable } from "./dictionary-table.ts";
import { Dictionary } from "./dictionary.ts";
import { GaugeLanes } from "./gauge-lanes.ts";
import { HealthTable } from "./health-table.ts";
import { laneCount, laneOf, SUPERVISOR_SLOT } from "./lanes.ts";
import { LimitCounters } from "./limit-counters.ts";
import { LimitTable } from "./limit-table.ts";
import { MetricArena } from "./metric-arena.ts";
import { MetricLane } from "./metric-lane.ts";
import { MetricReader } from "./metric-reader.ts";
import { Threads } from "./threads.ts";

export interface SharedBuffers {
  /** Worker slots; control and supervisor have lanes besides. */
  workers: number;
  maxSeriesPerWorker: number;
  threads: SharedArrayBuffer;
  gauges: SharedArrayBuffer;
  limits: SharedArrayBuffer;
  dictionary: SharedArrayBuffer;
  health: SharedArrayBuffer;
  /** By lane. */
  metrics: SharedArrayBuffer[];
}

export interface SharedMemory {
  readonly slot: number;
  readonly generation: number;
  readonly threads: Threads;
  readonly gauges: GaugeLanes;
  readonly counters: LimitCounters;
  readonly dictionary: Dictionary;
  /** Nodes of upstreams: up or down, drained, ejected. */
  readonly health: HealthTable;
  /** This thread's own lane. */
  readonly metrics: MetricLane;
  /** All lanes, for the metrics page. */
  readonly metricReader: MetricReader;
  /** Size and room of each part, under the names that the metrics page shows. */
  capacities(): PartCapacity[];
}

export interface PartCapacity {
  name: string;
  capacityBytes: number;
  freeBytes: number;
}

const DEFAULT_MAX_SERIES = 100_000;

/** `slots`: worker slots over all groups. */
export function createSharedMemory(
  config: SharedMemoryConfig,
  slots: number,
  maxSeriesPerWorker: number = DEFAULT_MAX_SERIES,
): SharedBuffers {
  return {
    workers: slots,
    maxSeriesPerWorker,
    threads: new SharedArrayBuffer(Threads.bytes(slots)),
    gauges: new SharedArrayBuffer(GaugeLanes.bytes(slots)),
    limits: LimitTable.create(config.limitCounters, slots),
    dictionary: DictionaryTable.create(config.dictionaryBytes),
    health: new SharedArrayBuffer(HealthTable.bytes()),
    metrics: Array.from({ length: laneCount(slots) }, () => MetricArena.create(config.metricBytesPerWorker)),
  };
}

/** The view of one thread; `generation` must be another one at each restart of the slot. */
export function openSharedMemory(buffers: SharedBuffers, slot: number, generation: number): SharedMemory {
  if (laneOf(slot) < 0 || laneOf(slot) >= laneCount(buffers.workers)) {
    throw new RangeError(`slot: given ${slot}, expected a worker from 0 to ${buffers.workers - 1}, -1 or -2`);
  }
  const counters = new LimitCounters(new LimitTable(buffers.limits, slot, generation));
  const dictionary = new Dictionary(new DictionaryTable(buffers.dictionary, slot, generation));
  const metricReader = new MetricReader(buffers.metrics);
  return {
    slot,
    generation,
    threads: new Threads(buffers.threads),
    gauges: new GaugeLanes(buffers.gauges, slot),
    counters,
    dictionary,
    health: new HealthTable(buffers.health),
    metrics: new MetricLane(buffers.metrics[laneOf(slot)], buffers.maxSeriesPerWorker),
    metricReader,
    capacities: () => capacities(counters, dictionary, metricReader),
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
  const dictionary = new DictionaryTable(buffers.dictionary, SUPERVISOR_SLOT, 0);
  new GaugeLanes(buffers.gauges, slot).clear(slot);
  new Threads(buffers.threads).clear(slot);
  new MetricArena(buffers.metrics[laneOf(slot)]).clearGauges();
  return {
    brokenLocks: limits.repairAfterDeath(slot, generation) + dictionary.repairAfterDeath(slot, generation),
  };
}

function capacities(counters: LimitCounters, dictionary: Dictionary, reader: MetricReader): PartCapacity[] {
  const limits = counters.stats();
  const stored = dictionary.stats();
  const lanes = reader.totals();
  const perEntry = limits.bytes / limits.capacity;
  return [
    {
      name: "limit-counters",
      capacityBytes: limits.bytes,
      freeBytes: Math.max(0, Math.round(limits.bytes - limits.used * perEntry)),
    },
    { name: "dictionary", capacityBytes: stored.capacityBytes, freeBytes: stored.freeBytes },
    {
      name: "prometheus-metrics",
      capacityBytes: lanes.capacityBytes,
      freeBytes: lanes.capacityBytes - lanes.usedBytes,
    },
  ];
}
