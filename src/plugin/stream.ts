/**
 * What plugins see of a connection of a stream route: an exchange without request and answer, and the first bytes.
 *
 * Its phases are `preread` (before a node is chosen), `beforeProxy` (for each attempt at a node) and `log`.
 */

import type { Exchange } from "./exchange.ts";

export interface StreamFacts {
  readonly protocol: "TCP" | "UDP";
  /** "address:port" of the listener, as it is configured; IPv6 in brackets. */
  readonly listenAddress: string;
  /** How it ended, in the words of nginx: 200, 400 (client), 403, 500, 502 (node) or 503. 0: it has not. */
  readonly status: number;
  /**
   * At least `length` of the first bytes from the client, without taking them: all that were read so far. Null: the client
   * ended or was silent for too long before, or `length` is beyond what is kept (16 KiB). One call at a time.
   */
  peek(length: number): Promise<Buffer | null>;
}

export interface StreamExchange extends Exchange {
  readonly stream: StreamFacts;
}
