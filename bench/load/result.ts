/** What a load generator has seen, whichever it was. */

export interface LoadResult {
  /** All that were sent: what CPU time is divided by. An opening phase counts here and nowhere else. */
  requests: number;
  requestsPerSecond: number;
  p50Us: number;
  p99Us: number;
  p999Us: number;
  p9999Us: number;
  /** Answers other than 2xx and 3xx, and requests without an answer. */
  failures: number;
}
