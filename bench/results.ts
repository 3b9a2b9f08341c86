/** What the benchmark finds: rows of figures, one per contender of a scenario. */

export interface Figures {
  cpuUs?: number;
  userUs?: number;
  systemUs?: number;
  /** CPU per request more than beside it, and how far half of the turns lie from that at most. */
  addedUs?: number;
  spreadUs?: number;
  requestsPerSecond?: number;
  p50Us?: number;
  p99Us?: number;
  p999Us?: number;
  p9999Us?: number;
  /** Requests without a good answer; anything but 0 makes the row worthless. */
  failures?: number;
  memoryMb?: number;
  seconds?: number;
  /** What clients of another upstream got each second meanwhile. */
  besideMb?: number;
  /** Text of the metrics page. */
  pageMb?: number;
}

export interface Row extends Figures {
  scenario: string;
  contender: string;
}

export interface ScenarioFailure {
  scenario: string;
  message: string;
}

export interface Results {
  startedAt: string;
  rounds: number;
  secondsPerRound: number;
  machine: { cpu: string; cores: number; kernel: string; node: string; nginx: string };
  rows: Row[];
  failures: ScenarioFailure[];
}

export function findRow(rows: readonly Row[], scenario: string, contender: string): Row | undefined {
  return rows.find((row) => row.scenario === scenario && row.contender === contender);
}
