/**
 * Counters, gauges and histograms of one thread, as plugins use them.
 *
 * A family is asked for by name, as often as one likes; a series of it by its label values, which gives an
 * index that the caller keeps. Counting by index is then one addition in shared memory (about 4 ns), with
 * no lock, message or allocation. The metrics page adds the lanes up without asking the workers.
 *
 * The number of series is capped. Beyond the cap, or when the lane has no room, `series` gives the
 * overflow series of the family (every label is "overflow"), so that sums stay right, and the page says
 * how often that happened.
 *
 * Looking a series up by its labels builds their text and costs about 1 µs: keep indexes where you can.
 */

import { SeriesIndex } from "./series-index.ts";
import {
  FAMILY_RECORD,
  FREE,
  LIVE,
  MAX_BUCKETS,
  MAX_TEXT_BYTES,
  MetricArena,
  OVERFLOW,
  VOID_INDEX,
} from "./metric-arena.ts";

export type MetricType = "counter" | "gauge" | "histogram";

/** As it stands in the family's record, and as the page reads it. */
export interface MetricDefinition {
  name: string;
  type: MetricType;
  help: string;
  labels: readonly string[];
  /** Upper bounds, ascending, without +Inf; empty unless it is a histogram. */
  buckets: readonly number[];
}

const OVERFLOW_LABEL = "overflow";

const NAME = /^[a-zA-Z_:][a-zA-Z0-9_:]*$/;
const LABEL = /^[a-zA-Z_][a-zA-Z0-9_]*$/;
const NEEDS_ESCAPE = /[\\"\n]/;
const MAX_FAMILIES = 1000;
const DEFAULT_MAX_SERIES = 100_000;

export class MetricLane {
  readonly #arena: MetricArena;
  readonly #maxSeries: number;
  readonly #families = new Map<string, MetricFamily>();
  /** Records that a former worker of this lane left, by family record. */
  readonly #left = new Map<number, number[]>();
  readonly #leftFamilies = new Map<string, number>();
  readonly #free = new Map<number, number[]>();

  constructor(shared: SharedArrayBuffer, maxSeries: number = DEFAULT_MAX_SERIES) {
    this.#arena = new MetricArena(shared);
    this.#maxSeries = maxSeries;
    this.#readLeftRecords();
  }

  counter(name: string, labelNames: readonly string[] = [], help: string = name): MetricFamily {
    return this.#family({ name, type: "counter", help, labels: labelNames, buckets: [] });
  }

  /** Lanes are added up on the page; a gauge of a dead worker counts as 0. */
  gauge(name: string, labelNames: readonly string[] = [], help: string = name): MetricFamily {
    return this.#family({ name, type: "gauge", help, labels: labelNames, buckets: [] });
  }

  /** `buckets`: upper bounds, ascending; at most 62. */
  histogram(
    name: string,
    labelNames: readonly string[],
    buckets: readonly number[],
    help: string = name,
  ): MetricFamily {
    return this.#family({ name, type: "histogram", help, labels: labelNames, buckets });
  }

  get stats(): { series: number; maxSeries: number; usedBytes: number; capacityBytes: number } {
    const { series, usedBytes, capacityBytes } = this.#arena;
    return { series, maxSeries: this.#maxSeries, usedBytes, capacityBytes };
  }

  #family(definition: MetricDefinition): MetricFamily {
    const known = this.#families.get(definition.name);
    if (known !== undefined) {
      if (!isSame(known.definition, definition)) {
        throw new Error(
          `metric ${definition.name}: given ${shape(definition)}, but it is registered as ${shape(known.definition)}`,
        );
      }
      return known;
    }
    check(definition);
    if (this.#families.size >= MAX_FAMILIES)
      throw new Error(`metric ${definition.name}: more than ${MAX_FAMILIES} metrics`);
    const family = this.#adopt(definition) ?? this.#create(definition);
    this.#families.set(definition.name, family);
    return family;
  }

  #create(definition: MetricDefinition): MetricFamily {
    const record = this.#arena.append(FAMILY_RECORD, 0, 0, false, JSON.stringify(definition));
    if (record < 0) this.#arena.countError();
    return new MetricFamily(definition, record, this.#arena, this.#free, this.#maxSeries);
  }

  /** The family as a former worker of this lane left it; if it had another shape then, it is given up. */
  #adopt(definition: MetricDefinition): MetricFamily | null {
    const record = this.#leftFamilies.get(definition.name);
    if (record === undefined) return null;
    this.#leftFamilies.delete(definition.name);
    const series = this.#left.get(record) ?? [];
    this.#left.delete(record);
    const before = JSON.parse(this.#arena.text(record)) as MetricDefinition;
    if (!isSame(before, definition)) {
      for (const at of [...series, record]) giveBack(this.#arena, this.#free, at);
      return null;
    }
    const family = new MetricFamily(definition, record, this.#arena, this.#free, this.#maxSeries);
    for (const at of series) family.adopt(at);
    return family;
  }

  #readLeftRecords(): void {
    const arena = this.#arena;
    arena.recount();
    const used = arena.usedBytes;
    for (let at = arena.firstRecord(); at < used; at = arena.after(at)) {
      const state = arena.state(at);
      if (state === FAMILY_RECORD) {
        this.#leftFamilies.set((JSON.parse(arena.text(at)) as MetricDefinition).name, at);
      } else if (state === FREE) {
        remember(this.#free, arena.sizeOf(at), at);
      } else remember(this.#left, arena.familyOf(at), at);
    }
  }
}

export class MetricFamily {
  readonly definition: MetricDefinition;
  readonly #record: number;
  readonly #arena: MetricArena;
  readonly #cells: Float64Array;
  readonly #free: Map<number, number[]>;
  readonly #maxSeries: number;
  readonly #values: number;
  readonly #buckets: readonly number[];
  readonly #byLabels: SeriesIndex;
  #overflow = VOID_INDEX;

  /** Made by `MetricLane`. */
  constructor(
    definition: MetricDefinition,
    record: number,
    arena: MetricArena,
    free: Map<number, number[]>,
    maxSeries: number,
  ) {
    this.definition = definition;
    this.#record = record;
    this.#arena = arena;
    this.#byLabels = new SeriesIndex(arena);
    this.#cells = arena.cells;
    this.#free = free;
    this.#maxSeries = maxSeries;
    this.#buckets = definition.buckets;
    this.#values = definition.type === "histogram" ? definition.buckets.length + 2 : 1;
  }

  /**
   * The index of the series with these label values, in the order of the label names; it is made if there
   * is none. Valid until it is released.
   */
  series(labelValues: readonly string[]): number {
    const text = labelsText(this.definition, labelValues);
    const known = this.#byLabels.find(text);
    if (known !== undefined) return known;
    const at = this.#add(text);
    if (at < 0) {
      this.#arena.countOverflow();
      return this.#overflowSeries();
    }
    const index = this.#arena.indexOf(at);
    this.#byLabels.add(text, index);
    return index;
  }

  inc(index: number, by: number = 1): void {
    this.#cells[index] += by;
  }

  set(index: number, value: number): void {
    this.#cells[index] = value;
  }

  /** Values of a histogram: the sum, then a count for each bucket, the last for +Inf. */
  observe(index: number, value: number): void {
    const buckets = this.#buckets;
    let i = 0;
    while (i < buckets.length && value > buckets[i]) i++;
    this.#cells[index + 1 + i] += 1;
    this.#cells[index] += value;
  }

  /** The value of a counter or gauge, the sum of a histogram, in this lane. */
  value(index: number): number {
    return this.#cells[index];
  }

  /** Frees the series, whose index must not be used again. The overflow series stays. */
  release(index: number): void {
    if (index === VOID_INDEX || index === this.#overflow) return;
    const at = this.#arena.recordOf(index);
    if (this.#arena.state(at) !== LIVE || this.#arena.familyOf(at) !== this.#record) return;
    this.#byLabels.delete(this.#arena.text(at), index);
    giveBack(this.#arena, this.#free, at);
  }

  /** A series that a former worker of the lane left. */
  adopt(at: number): void {
    if (this.#arena.state(at) === LIVE) this.#byLabels.add(this.#arena.text(at), this.#arena.indexOf(at));
    else this.#overflow = this.#arena.indexOf(at);
  }

  #add(text: string): number {
    const arena = this.#arena;
    if (this.#record < 0 || arena.series >= this.#maxSeries) return -1;
    const textBytes = Buffer.byteLength(text);
    if (textBytes > MAX_TEXT_BYTES) return -1;
    const isGauge = this.definition.type === "gauge";
    const freed = this.#free.get(MetricArena.sizeFor(this.#values, textBytes))?.pop();
    if (freed === undefined) return arena.append(LIVE, this.#record, this.#values, isGauge, text);
    arena.reuse(freed, this.#record, this.#values, isGauge, text);
    return freed;
  }

  #overflowSeries(): number {
    if (this.#overflow !== VOID_INDEX || this.#record < 0) return this.#overflow;
    const text = labelsText(
      this.definition,
      this.definition.labels.map(() => OVERFLOW_LABEL),
    );
    const isGauge = this.definition.type === "gauge";
    const at = this.#arena.append(OVERFLOW, this.#record, this.#values, isGauge, text);
    if (at >= 0) this.#overflow = this.#arena.indexOf(at);
    else this.#arena.countError();
    return this.#overflow;
  }
}

/** `a="1",b="x"`, escaped as the page shows it. */
function labelsText({ name, labels }: MetricDefinition, values: readonly string[]): string {
  if (values.length !== labels.length) {
    throw new TypeError(`metric ${name}: given ${values.length} label values, expected ${labels.length}`);
  }
  let text = "";
  for (let i = 0; i < labels.length; i++) {
    const value = values[i];
    text += `${i === 0 ? "" : ","}${labels[i]}="${NEEDS_ESCAPE.test(value) ? escapeLabel(value) : value}"`;
  }
  // Half a surrogate pair would be stored as another character, and the series never found again.
  return text.toWellFormed();
}

export function escapeLabel(value: string): string {
  return value
    .replaceAll("\\", "\\\\")
    .replaceAll('"', String.raw`\"`)
    .replaceAll("\n", String.raw`\n`);
}

function giveBack(arena: MetricArena, free: Map<number, number[]>, at: number): void {
  arena.free(at);
  remember(free, arena.sizeOf(at), at);
}

function remember(lists: Map<number, number[]>, key: number, at: number): void {
  const list = lists.get(key);
  if (list === undefined) lists.set(key, [at]);
  else list.push(at);
}

function isSame(a: MetricDefinition, b: MetricDefinition): boolean {
  return shape(a) === shape(b);
}

function shape({ type, labels, buckets }: MetricDefinition): string {
  return `${type}(${labels.join(", ")})${buckets.length === 0 ? "" : ` with buckets ${buckets.join(" ")}`}`;
}

function check({ name, type, labels, buckets }: MetricDefinition): void {
  if (!NAME.test(name))
    throw new Error(`metric name: given ${JSON.stringify(name)}, expected ${NAME.source}`);
  for (const label of labels) {
    if (!LABEL.test(label) || (type === "histogram" && label === "le")) {
      throw new Error(
        `metric ${name}: given label ${JSON.stringify(label)}, expected ${LABEL.source} and not "le"`,
      );
    }
  }
  if (type !== "histogram") return;
  const isAscending = buckets.every(
    (bound, i) => Number.isFinite(bound) && (i === 0 || bound > buckets[i - 1]),
  );
  if (!isAscending || buckets.length === 0 || buckets.length > MAX_BUCKETS) {
    throw new Error(
      `metric ${name}: given buckets [${buckets.join(", ")}], expected 1 to ${MAX_BUCKETS} ascending numbers`,
    );
  }
}
