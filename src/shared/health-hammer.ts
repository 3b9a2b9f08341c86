/** A thread of the table's test: reports results to one slot as fast as it can. */

import { parentPort, workerData } from "node:worker_threads";
import { HealthTable } from "./health-table.ts";
import { TCP_FAILURE } from "./health-state.ts";

const { shared, slot, generation, times, limit } = workerData as {
  shared: SharedArrayBuffer;
  slot: number;
  generation: number;
  times: number;
  limit: number;
};
const table = new HealthTable(shared);
let turns = 0;
for (let i = 0; i < times; i++) if (table.report(slot, generation, TCP_FAILURE, limit)) turns++;
parentPort!.postMessage(turns);
