/**
 * What became of the requests of both upstreams of a rollout, in the metric lane of this worker: how many, how many of
 * them ended with an error, and how long they took. Control adds the lanes up.
 *
 * Every share is another configuration, and all of a rollout count in the same series. Those are given back some time after
 * the last one is gone.
 */

import type { Exchange, MetricFamily, MetricLane } from "../../plugin/index.ts";

/** The names and labels by which control finds them. */
export const REQUESTS = "rollout_requests_total";
export const LATENCY = "rollout_latency";
export const LABELS = ["rollout", "variant"] as const;
export const OUTCOME_LABELS = [...LABELS, "outcome"] as const;

const FIRST_ERROR = 500;
/**
 * Of gRPC (grpc.github.io/grpc/core/md_doc_statuscodes.html), what the server is to blame for: unknown, deadline exceeded,
 * unimplemented, internal, unavailable, data loss. They come with the status 200.
 */
const GRPC_ERRORS: ReadonlySet<string> = new Set(["2", "4", "12", "13", "14", "15"]);
const SWITCHING_PROTOCOLS = 101;
const FIRST_BOUND_MS = 1;
const STEP = 1.25;
const BOUNDS = 55;
/** Between two shares nobody may have the counts for as long as no request comes. */
const KEPT_MS = 600_000;

/** 1 ms to 170 s, each a quarter above the one before: a percentile is right to within that. */
export const BUCKETS_MS: readonly number[] = Array.from(
  { length: BOUNDS },
  (_, i) => Math.round(FIRST_BOUND_MS * STEP ** i * 1000) / 1000,
);

interface Series {
  ok: number;
  error: number;
  latency: number;
}

/** By lane and rollout. */
const known = new WeakMap<MetricLane, Map<string, VariantCounts>>();

/** The counts of a rollout in this worker; to be given back by `release`. */
export function countsOf(lane: MetricLane, rollout: string): VariantCounts {
  let ofLane = known.get(lane);
  if (ofLane === undefined) known.set(lane, (ofLane = new Map()));
  let counts = ofLane.get(rollout);
  if (counts === undefined) {
    const made = ofLane;
    counts = new VariantCounts(lane, rollout, () => made.delete(rollout));
    ofLane.set(rollout, counts);
  }
  counts.use();
  return counts;
}

class VariantCounts {
  readonly #requests: MetricFamily;
  readonly #latency: MetricFamily;
  readonly #canary: Series;
  readonly #stable: Series;
  readonly #onEnd: () => void;
  #users = 0;
  #end: NodeJS.Timeout | null = null;
  #isOver = false;

  /** Made by `countsOf`. */
  constructor(lane: MetricLane, rollout: string, onEnd: () => void) {
    this.#onEnd = onEnd;
    this.#requests = lane.counter(REQUESTS, OUTCOME_LABELS, "Requests of the upstreams of a rollout");
    this.#latency = lane.histogram(
      LATENCY,
      LABELS,
      BUCKETS_MS,
      "Milliseconds that the upstreams of a rollout took",
    );
    this.#canary = this.#seriesOf(rollout, "canary");
    this.#stable = this.#seriesOf(rollout, "stable");
  }

  use(): void {
    this.#users++;
    if (this.#end !== null) clearTimeout(this.#end);
    this.#end = null;
  }

  release(): void {
    if (--this.#users > 0) return;
    this.#end = setTimeout(() => this.#giveBack(), KEPT_MS);
    this.#end.unref();
  }

  count(ctx: Exchange, isCanary: boolean): void {
    const { status } = ctx.response;
    // Who left before there was an answer says nothing about the upstream. A WebSocket may end after the counts.
    if (status === 0 || this.#isOver) return;
    const series = isCanary ? this.#canary : this.#stable;
    this.#requests.inc(isError(ctx.response) ? series.error : series.ok);
    // How long a WebSocket is open is its users' business.
    if (status !== SWITCHING_PROTOCOLS)
      this.#latency.observe(series.latency, ctx.upstreamLatencyMs ?? ctx.latencyMs);
  }

  #giveBack(): void {
    this.#isOver = true;
    this.#onEnd();
    for (const { ok, error, latency } of [this.#canary, this.#stable]) {
      this.#requests.release(ok);
      this.#requests.release(error);
      this.#latency.release(latency);
    }
  }

  #seriesOf(rollout: string, variant: string): Series {
    return {
      ok: this.#requests.series([rollout, variant, "ok"]),
      error: this.#requests.series([rollout, variant, "error"]),
      latency: this.#latency.series([rollout, variant]),
    };
  }
}

function isError({ status, trailers, headers }: Exchange["response"]): boolean {
  if (status >= FIRST_ERROR) return true;
  // An answer without a body has them in its head.
  const code = trailers?.get("grpc-status") ?? headers.get("grpc-status");
  return code !== undefined && GRPC_ERRORS.has(code);
}
