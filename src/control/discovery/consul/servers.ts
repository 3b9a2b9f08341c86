/**
 * All servers of one discovery in Consul: what each lists is fetched by itself and put together, and a server that fails is told of
 * as the failure of all only when none answers.
 */

import type { ConsulDiscoveryConfig } from "../../../config/discovery.ts";
import type { Findings, Need } from "../node-source.ts";
import { RegistryClient } from "../registry-client.ts";
import { ServerLists } from "./server-lists.ts";
import { ConsulServer } from "./server.ts";

export interface ConsulServersParts {
  type: string;
  config: ConsulDiscoveryConfig;
  findings: Findings;
  /** What is watched for changes; see `ConsulServerParts`. */
  watched: readonly string[];
  /** Fetches what one server lists into `lists`, and tells. Gives the number of its questions; throws when it cannot. */
  fetch(server: ConsulServer, signal: AbortSignal): Promise<number>;
}

export class ConsulServers {
  readonly lists: ServerLists;
  readonly #parts: ConsulServersParts;
  readonly #client = new RegistryClient();
  readonly #servers: ConsulServer[];
  #isStarted = false;

  constructor(parts: ConsulServersParts) {
    this.#parts = parts;
    const { config, watched, findings, type, fetch } = parts;
    this.lists = new ServerLists(config.servers);
    this.#servers = config.servers.map(
      (server) =>
        new ConsulServer({
          server,
          watched,
          config,
          client: this.#client,
          fetch,
          onFailure: (failed, reason) => this.#fail(failed, reason),
          onQuiet: () => findings.confirm(type),
        }),
    );
  }

  get isStarted(): boolean {
    return this.#isStarted;
  }

  start(): void {
    this.#isStarted = true;
    for (const server of this.#servers) server.start();
  }

  /** Ends when each has been asked anew. */
  async refresh(): Promise<void> {
    await Promise.all(this.#servers.map((server) => server.refresh()));
  }

  /** What all of them list of these services, as far as it is known. */
  tell(needs: readonly Need[]): void {
    const { config, findings } = this.#parts;
    for (const { key, service } of needs) {
      const nodes = this.lists.nodesOf(service, config.sort);
      if (nodes !== null) findings.answer(key, nodes);
    }
  }

  close(): void {
    for (const server of this.#servers) server.close();
    this.#client.close();
  }

  #fail(server: string, reason: string): void {
    const { type, findings } = this.#parts;
    const isNew = this.lists.failed(server);
    if (!this.lists.isFresh) findings.fail(type, reason);
    else if (isNew) findings.failPartly(type, reason);
  }
}
