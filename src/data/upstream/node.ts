/**
 * One node of an upstream, as a worker balances over it: an address, a port, a weight and what this worker
 * knows about it.
 *
 * A node object outlives edits of its upstream: as long as configured host, address and port stay, the same
 * object stays, with its counts. Everything mutable here belongs to one worker; nothing is shared.
 */

export class UpstreamNode {
  /** Host as configured: a name or an address. Seen by clients of `pass_host: node`. */
  readonly host: string;
  /** The IP address that connections go to; equals `host` when that is an address. */
  readonly address: string;
  readonly port: number;
  /** "address:port", the name that logs and `$upstream_addr` use; IPv6 in brackets. */
  readonly name: string;

  /** `Host` of requests when the upstream says `pass_host: node`. */
  hostHeader = "";
  /** Which connections it may use: "http#10.0.0.1#80". */
  poolIdentity = "";
  weight: number;
  priority: number;
  /** As its metadata says; "": none. */
  zone = "";
  /** Slot in the health table; -1 while nobody checks this node. */
  healthSlot = -1;
  healthGeneration = 0;
  /** The same in the count of its errors. */
  outlierSlot = -1;
  outlierGeneration = 0;
  /** Unhealthy or ejected, when the table was looked at last. */
  isDown = false;
  /** When it came back, while its share still grows (monotonic milliseconds); 0: it has its full share. */
  growsSince = 0;
  /** For the pick that is made now: not this time. */
  isHeldBack = false;

  /** Attempts in flight from this worker. */
  active = 0;
  /** Smooth weighted round-robin: the current weight. */
  currentWeight = 0;
  /** Decayed latency in milliseconds, and when it was last touched (0: never). */
  latencyMs = 0;
  latencyAtMs = 0;

  constructor(host: string, address: string, port: number, weight: number, priority: number) {
    this.host = host;
    this.address = address;
    this.port = port;
    this.name = address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`;
    this.weight = weight;
    this.priority = priority;
  }
}

/** Nodes that one request has tried already. Small: as many as there were attempts. */
export class TriedNodes {
  static readonly NONE = new TriedNodes();

  readonly #nodes: UpstreamNode[] = [];

  get size(): number {
    return this.#nodes.length;
  }

  add(node: UpstreamNode): void {
    if (this === TriedNodes.NONE) throw new Error("TriedNodes.NONE is shared and stays empty");
    if (!this.#nodes.includes(node)) this.#nodes.push(node);
  }

  has(node: UpstreamNode): boolean {
    return this.#nodes.includes(node);
  }
}
