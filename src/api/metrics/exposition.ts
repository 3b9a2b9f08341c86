/**
 * The text of the metrics page: what the node knows of itself, what control tells (`facts`), and the
 * families of all workers, added up.
 *
 * It comes in chunks, and the event loop gets its turn every few milliseconds, since control renders it
 * and has probes and leases to serve. Two formats: Prometheus text 0.0.4, and OpenMetrics 1.0 for who
 * asks for it. In OpenMetrics a counter's samples must end in `_total`; those that do not (APISIX's
 * `http_status`, `bandwidth`) are shown as type `unknown` there, so that no name depends on the format.
 *
 * Sources: https://prometheus.io/docs/instrumenting/exposition_formats/ and the OpenMetrics 1.0
 * specification.
 */

import type { FactFamily, FactSample, MetricsFacts } from "../../control/fact-families.ts";
import {
  ACCEPTED,
  ACTIVE,
  AUDIT_SUPPRESSED,
  HANDLED,
  LIMITED,
  LOG_LINES_DROPPED,
  READING,
  REQUESTS,
  SHED,
  WAITING,
  WRITING,
} from "../../shared/gauge-lanes.ts";
import { escapeLabel, type MetricType } from "../../shared/metric-lane.ts";
import type { MergedFamily } from "../../shared/metric-reader.ts";
import type { SharedMemory } from "../../shared/shared-memory.ts";
import type { ThreadReport } from "../../shared/threads.ts";
import { numberText, PageWriter } from "./page-writer.ts";
import { Pace, type Turns } from "./pace.ts";

export type MetricsFormat = "prometheus" | "openmetrics";

/** Samples between two looks at the clock. */
const SAMPLES_PER_LOOK = 64;

/** OpenMetrics only for who names it, and not below the plain text. */
export function metricsFormat(accept: string | undefined): MetricsFormat {
  let open = 0;
  let plain = 0;
  for (const entry of (accept ?? "").split(",", 32)) {
    const [type, ...parameters] = entry.trim().toLowerCase().split(";");
    const weight = parameters.map((p) => p.trim()).find((p) => p.startsWith("q="));
    const quality = weight === undefined ? 1 : Number(weight.slice(2)) || 0;
    if (type.trim() === "application/openmetrics-text") open = Math.max(open, quality);
    else if (type.trim() === "text/plain") plain = Math.max(plain, quality);
  }
  return open > 0 && open >= plain ? "openmetrics" : "prometheus";
}

export function metricsContentType(format: MetricsFormat): string {
  return format === "openmetrics"
    ? "application/openmetrics-text; version=1.0.0; charset=utf-8"
    : "text/plain; version=0.0.4; charset=utf-8";
}

/** The page in chunks. The bytes of a chunk may be another's as soon as the next one is asked for. */
export async function* renderMetrics(
  shared: SharedMemory,
  facts: MetricsFacts,
  format: MetricsFormat = "prometheus",
  turns?: Turns,
): AsyncGenerator<Buffer, void, void> {
  const constant = labelText(facts.labels);
  const page = new PageWriter(constant);
  const pace = new Pace(turns);
  const reader = shared.metricReader;
  for (const _ of reader.refresh()) if (pace.isOver()) await pace.rest();

  const taken = new Set<string>();
  for (const family of [...nodeFamilies(shared, facts), ...(facts.families ?? [])]) {
    if (taken.has(family.name)) continue;
    taken.add(family.name);
    writeFacts(page, facts.prefix, constant, family, format);
  }
  for (const family of reader.families) {
    if (taken.has(family.definition.name) || family.series.length === 0) continue;
    const { name, type, help } = family.definition;
    writeHead(page, facts.prefix + name, type, help, format);
    const write =
      type === "histogram"
        ? histogramWriter(page, facts.prefix, family, format)
        : sampleWriter(page, facts.prefix, family);
    for (let i = 0; i < family.series.length; i++) {
      write(family.series[i]);
      if (i % SAMPLES_PER_LOOK !== 0) continue;
      yield* handOut(page, false);
      if (pace.isOver()) await pace.rest();
    }
  }
  if (format === "openmetrics") page.text("# EOF\n");
  yield* handOut(page, true);
}

function* handOut(page: PageWriter, all: boolean): Generator<Buffer, void, void> {
  for (const chunk of page.take(all)) {
    yield chunk;
    page.recycle(chunk);
  }
}

/** The whole page as one text: for tests and small nodes. */
export async function metricsText(
  shared: SharedMemory,
  facts: MetricsFacts,
  format: MetricsFormat = "prometheus",
): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of renderMetrics(shared, facts, format)) chunks.push(Buffer.from(chunk));
  return Buffer.concat(chunks).toString("utf8");
}

function nodeFamilies(shared: SharedMemory, facts: MetricsFacts): FactFamily[] {
  const { gauges, metricReader } = shared;
  const stores = shared.capacities();
  const lanes = metricReader.totals();
  const limits = shared.counters.stats();
  const requests = gauges.total(REQUESTS);
  const states: [string, number][] = [
    ["active", gauges.total(ACTIVE)],
    ["accepted", gauges.total(ACCEPTED)],
    ["handled", gauges.total(HANDLED)],
    ["total", requests],
    ["reading", gauges.total(READING)],
    ["writing", gauges.total(WRITING)],
    ["waiting", gauges.total(WAITING)],
  ];
  return [
    gauge("node_info", "Info of the node", [
      { labels: { hostname: facts.hostname, version: facts.version }, value: 1 },
    ]),
    gauge(
      "nginx_http_current_connections",
      "Number of HTTP connections",
      states.map(([state, value]) => ({ labels: { state }, value })),
    ),
    gauge("http_requests_total", "Client requests since the node started", [{ value: requests }]),
    counter("nginx_metric_errors_total", "Metrics that could not be kept", lanes.errors),
    gauge(
      "shared_dict_capacity_bytes",
      "Size of each part of the shared memory",
      stores.map(({ name, capacityBytes }) => ({ labels: { name }, value: capacityBytes })),
    ),
    gauge(
      "shared_dict_free_space_bytes",
      "Room left in each part of the shared memory",
      stores.map(({ name, freeBytes }) => ({ labels: { name }, value: freeBytes })),
    ),
    ...workerFamilies(shared),
    gauge("metric_series", "Series of all workers", [{ value: lanes.series }]),
    counter("metric_overflows_total", "Times that a series was refused by the cap", lanes.overflowed),
    gauge("limit_counters_used", "Keys in the table of limit counters", [{ value: limits.used }]),
    gauge("limit_counters_capacity", "Keys that fit into it", [{ value: limits.capacity }]),
    counter("limit_counters_refused_total", "Keys refused because it was full", limits.refusals),
    counter("shared_lock_timeouts_total", "Operations given up for a held lock", limits.lockTimeouts),
    counter(
      "upstream_limited_total",
      "Requests refused by the limits of their upstream",
      gauges.total(LIMITED),
    ),
    counter("requests_shed_total", "Requests refused because a worker was overloaded", gauges.total(SHED)),
    counter(
      "access_log_lines_dropped_total",
      "Lines of the access log that the disk was too slow for",
      gauges.total(LOG_LINES_DROPPED),
    ),
    counter(
      "audit_suppressed_total",
      "Refused writes to the Admin API that the audit log only counts",
      gauges.total(AUDIT_SUPPRESSED),
    ),
  ];
}

function workerFamilies({ threads }: SharedMemory): FactFamily[] {
  const reports = Array.from({ length: threads.workers }, (_, slot) => threads.report(slot));
  const perWorker = (value: (report: ThreadReport) => number): FactSample[] =>
    reports.map((report) => ({ labels: { worker: String(report.slot) }, value: value(report) }));
  return [
    gauge(
      "worker_ready",
      "1: the worker serves",
      perWorker(({ state }) => (state === "ready" ? 1 : 0)),
    ),
    gauge(
      "worker_starts",
      "How often the worker of this slot was started",
      perWorker(({ generation }) => generation),
    ),
    gauge(
      "worker_applied_revision",
      "Configuration that the worker serves",
      perWorker(({ appliedRevision }) => appliedRevision),
    ),
    gauge(
      "worker_event_loop_delay_ms",
      "How late the event loop of the worker was",
      perWorker(({ eventLoopDelayMs }) => eventLoopDelayMs),
    ),
    gauge(
      "worker_heap_used_bytes",
      "Heap that the worker uses",
      perWorker(({ heapUsedBytes }) => heapUsedBytes),
    ),
  ];
}

function gauge(name: string, help: string, samples: FactSample[]): FactFamily {
  return { name, type: "gauge", help, samples };
}

function counter(name: string, help: string, value: number): FactFamily {
  return { name, type: "counter", help, samples: [{ value }] };
}

function writeHead(
  page: PageWriter,
  name: string,
  type: MetricType,
  help: string,
  format: MetricsFormat,
): void {
  const escaped = help.replaceAll("\\", "\\\\").replaceAll("\n", String.raw`\n`);
  if (format === "prometheus") page.text(`# HELP ${name} ${escaped}\n# TYPE ${name} ${type}\n`);
  else {
    const isPlain = type !== "counter" || !name.endsWith("_total");
    const family = isPlain ? name : name.slice(0, -"_total".length);
    const shown = type === "counter" && isPlain ? "unknown" : type;
    page.text(`# TYPE ${family} ${shown}\n# HELP ${family} ${escaped.replaceAll('"', String.raw`\"`)}\n`);
  }
}

function writeFacts(
  page: PageWriter,
  prefix: string,
  constant: string,
  family: FactFamily,
  format: MetricsFormat,
): void {
  writeHead(page, prefix + family.name, family.type, family.help, format);
  for (const { labels, value } of family.samples) {
    const own = labelText(labels);
    const text = constant === "" || own === "" ? constant + own : `${constant},${own}`;
    page.text(text === "" ? `${prefix}${family.name} ` : `${prefix}${family.name}{${text}} `);
    page.value(value);
  }
}

function labelText(labels: Readonly<Record<string, string>> = {}): string {
  return Object.entries(labels)
    .map(([name, value]) => `${name}="${escapeLabel(value)}"`)
    .join(",");
}

type SeriesWriter = (series: number) => void;

function sampleWriter(page: PageWriter, prefix: string, family: MergedFamily): SeriesWriter {
  const head = Buffer.from(prefix + family.definition.name);
  return (series) => {
    if (family.isHidden(series)) return;
    page.sample(head, family.lanes[series], family.records[series], family.sum(series, 0));
  };
}

/** Buckets are counted apart and shown cumulated, as the formats want them. */
function histogramWriter(
  page: PageWriter,
  prefix: string,
  family: MergedFamily,
  format: MetricsFormat,
): SeriesWriter {
  const name = prefix + family.definition.name;
  const [bucketHead, sumHead, countHead] = ["_bucket", "_sum", "_count"].map((end) =>
    Buffer.from(name + end),
  );
  const tails = [...family.definition.buckets, Infinity].map((bound) =>
    Buffer.from(`le="${boundText(bound, format)}"} `),
  );
  const values = new Float64Array(family.values);
  return (series) => {
    if (family.isHidden(series)) return;
    family.sumAll(series, values);
    const lane = family.lanes[series];
    const record = family.records[series];
    let count = 0;
    page.beginBuckets();
    for (let i = 0; i < tails.length; i++) {
      count += values[1 + i];
      page.bucket(bucketHead, lane, record, tails[i], count);
    }
    page.sample(sumHead, lane, record, values[0]);
    page.sample(countHead, lane, record, count);
  };
}

/** OpenMetrics wants bounds as floats: 1.0, not 1. */
function boundText(bound: number, format: MetricsFormat): string {
  const text = numberText(bound);
  return format === "openmetrics" && Number.isInteger(bound) ? `${text}.0` : text;
}
