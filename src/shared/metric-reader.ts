/**
 * The metrics of all lanes together: families by name, series by labels, values added up.
 *
 * The reader remembers what it found and looks only at records that are new, so that a scrape of many
 * series costs little more than their text. When a lane has freed or reused a record, everything is read
 * again. Workers are never asked and never wait; while they count on, a scrape sees each value as it is
 * when it is read.
 */

import { FAMILY_RECORD, FREE, MetricArena, OVERFLOW } from "./metric-arena.ts";
import type { MetricDefinition } from "./metric-lane.ts";

/** Records looked at before `refresh` lets its caller do something else. */
const SLICE_RECORDS = 2000;

/** Series of one family over all lanes. Contributions of a series to its sum form a chain. */
export class MergedFamily {
  readonly definition: MetricDefinition;
  /** Number of values of a series: 1, or sum and buckets of a histogram. */
  readonly values: number;
  /** First contribution of each series. Position in these arrays is the contribution. */
  readonly series: number[] = [];
  readonly lanes: MetricArena[] = [];
  readonly records: number[] = [];
  readonly #next: number[] = [];
  /** Open addressing by hash: first contribution of a series plus one, or 0. A map of boxed hashes took three times as long. */
  #table = new Int32Array(64);

  constructor(definition: MetricDefinition) {
    this.definition = definition;
    this.values = definition.type === "histogram" ? definition.buckets.length + 2 : 1;
  }

  add(lane: MetricArena, record: number): void {
    const contribution = this.lanes.length;
    this.lanes.push(lane);
    this.records.push(record);
    this.#next.push(-1);
    if (this.series.length * 2 > this.#table.length) this.#grow();
    const table = this.#table;
    const mask = table.length - 1;
    for (let at = lane.textHash(record) & mask; ; at = (at + 1) & mask) {
      const first = table[at] - 1;
      if (first === -1) {
        table[at] = contribution + 1;
        this.series.push(contribution);
        return;
      }
      if (hasSameText(this.lanes[first], this.records[first], lane, record)) {
        this.#next[contribution] = this.#next[first];
        this.#next[first] = contribution;
        return;
      }
    }
  }

  /** Value number `value` of a series, over all lanes. */
  sum(first: number, value: number): number {
    let sum = 0;
    for (let at = first; at !== -1; at = this.#next[at]) {
      const lane = this.lanes[at];
      sum += lane.cells[lane.indexOf(this.records[at]) + value];
    }
    return sum;
  }

  /** All values of a series, over all lanes. `into` has room for `values`. */
  sumAll(first: number, into: Float64Array): void {
    into.fill(0);
    for (let at = first; at !== -1; at = this.#next[at]) {
      const lane = this.lanes[at];
      const cells = lane.cells;
      const index = lane.indexOf(this.records[at]);
      for (let value = 0; value < into.length; value++) into[value] += cells[index + value];
    }
  }

  /** An overflow series is made beforehand or by one lane only: it is shown once something went there. */
  isHidden(first: number): boolean {
    if (this.lanes[first].state(this.records[first]) !== OVERFLOW) return false;
    for (let value = 0; value < this.values; value++) if (this.sum(first, value) !== 0) return false;
    return true;
  }

  #grow(): void {
    const table = new Int32Array(this.#table.length * 2);
    const mask = table.length - 1;
    for (const first of this.series) {
      let at = this.lanes[first].textHash(this.records[first]) & mask;
      while (table[at] !== 0) at = (at + 1) & mask;
      table[at] = first + 1;
    }
    this.#table = table;
  }
}

export interface LaneTotals {
  series: number;
  overflowed: number;
  errors: number;
  usedBytes: number;
  capacityBytes: number;
}

export class MetricReader {
  readonly #lanes: MetricArena[];
  readonly #seen: { changes: number; upTo: number }[];
  readonly #families = new Map<string, MergedFamily>();
  /** By lane and family record; null: another lane has this name with another shape. */
  readonly #byRecord: Map<number, MergedFamily | null>[];

  constructor(lanes: readonly SharedArrayBuffer[]) {
    this.#lanes = lanes.map((lane) => new MetricArena(lane));
    this.#seen = this.#lanes.map(() => ({ changes: 0, upTo: 0 }));
    this.#byRecord = this.#lanes.map(() => new Map());
    this.#forget();
  }

  /** As they are now; what is read again later makes new ones. */
  get families(): MergedFamily[] {
    return [...this.#families.values()];
  }

  /**
   * Takes in what is new. Yields between slices; go on until it is done. Several may run at the same time:
   * they share their progress, and each ends when all of it is done.
   */
  *refresh(): Generator<void> {
    if (this.#lanes.some((lane, i) => lane.changes !== this.#seen[i].changes)) this.#forget();
    for (;;) {
      const behind = this.#lanes.findIndex((lane, i) => this.#seen[i].upTo < lane.usedBytes);
      if (behind === -1) return;
      this.#takeSlice(behind);
      yield;
    }
  }

  totals(): LaneTotals {
    const totals = { series: 0, overflowed: 0, errors: 0, usedBytes: 0, capacityBytes: 0 };
    for (const lane of this.#lanes) {
      totals.series += lane.series;
      totals.overflowed += lane.overflowed;
      totals.errors += lane.errors;
      totals.usedBytes += lane.usedBytes;
      totals.capacityBytes += lane.capacityBytes;
    }
    return totals;
  }

  #takeSlice(i: number): void {
    const lane = this.#lanes[i];
    const seen = this.#seen[i];
    const used = lane.usedBytes;
    for (let taken = 0; taken < SLICE_RECORDS && seen.upTo < used; taken++) {
      this.#take(i, seen.upTo);
      seen.upTo = lane.after(seen.upTo);
    }
  }

  #take(i: number, record: number): void {
    const lane = this.#lanes[i];
    const state = lane.state(record);
    if (state !== FREE && state !== FAMILY_RECORD)
      this.#familyAt(i, lane.familyOf(record))?.add(lane, record);
  }

  /** Looked up from its series, since a series in reused room may stand before its family. */
  #familyAt(i: number, record: number): MergedFamily | null {
    const known = this.#byRecord[i].get(record);
    if (known !== undefined) return known;
    const family = this.#familyFor(this.#lanes[i].text(record));
    this.#byRecord[i].set(record, family);
    return family;
  }

  #familyFor(text: string): MergedFamily | null {
    const definition = JSON.parse(text) as MetricDefinition;
    const known = this.#families.get(definition.name);
    if (known === undefined) {
      const family = new MergedFamily(definition);
      this.#families.set(definition.name, family);
      return family;
    }
    const { type, labels, buckets } = known.definition;
    const isSame =
      definition.type === type &&
      definition.labels.join() === labels.join() &&
      definition.buckets.join() === buckets.join();
    return isSame ? known : null;
  }

  #forget(): void {
    this.#families.clear();
    for (let i = 0; i < this.#lanes.length; i++) {
      this.#byRecord[i].clear();
      this.#seen[i] = { changes: this.#lanes[i].changes, upTo: this.#lanes[i].firstRecord() };
    }
  }
}

function hasSameText(a: MetricArena, recordA: number, b: MetricArena, recordB: number): boolean {
  return (
    a.textHash(recordA) === b.textHash(recordB) &&
    a.bytes.compare(
      b.bytes,
      b.textStart(recordB),
      b.textEnd(recordB),
      a.textStart(recordA),
      a.textEnd(recordA),
    ) === 0
  );
}
