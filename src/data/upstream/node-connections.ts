/**
 * The connections of this worker to one node under all the names that requests had for it, so that clients who make up
 * names cannot have it keep more of them than one name would get.
 */

import type { UpstreamConnection } from "../http1/upstream-connection.ts";

export class NodeConnections {
  readonly identity: string;
  /** Idle, busy and connecting. */
  open = 0;
  /** The one idle for longest first. */
  readonly #idle: UpstreamConnection[] = [];

  constructor(identity: string) {
    this.identity = identity;
  }

  get oldest(): UpstreamConnection | undefined {
    return this.#idle[0];
  }

  /** It became idle; beyond `size` the one idle for longest closes. */
  add(connection: UpstreamConnection, size: number): void {
    this.#idle.push(connection);
    if (this.#idle.length > size) this.#idle[0].close();
  }

  remove(connection: UpstreamConnection): void {
    const at = this.#idle.lastIndexOf(connection);
    if (at !== -1) this.#idle.splice(at, 1);
  }
}
