/**
 * Bounded load on a node: a number of clients that ask one after the other until they are told to stop. It counts
 * answers and keeps what went wrong; nothing is ever asked again.
 */

import { Agent, get } from "node:http";

export interface LoadResult {
  answered: number;
  /** By error code or unexpected status. */
  failures: Record<string, number>;
  /** How often each process answered. */
  processes: Map<number, number>;
}

export interface WorkerAnswer {
  slot: number;
  generation: number;
  pid: number;
  marker: string;
  greetings: number;
}

/** One request on a connection of its own, or of `agent`. Rejects on anything but a complete 200. */
export function ask(port: number, path = "/", agent: Agent | false = false): Promise<WorkerAnswer> {
  return new Promise((resolve, reject) => {
    const request = get({ host: "127.0.0.1", port, path, agent }, (response) => {
      let text = "";
      response.setEncoding("utf8");
      response.on("data", (part: string) => {
        text += part;
      });
      response.on("error", reject);
      response.on("end", () => {
        if (response.statusCode === 200) resolve(JSON.parse(text) as WorkerAnswer);
        else reject(new Error(`status ${response.statusCode}`));
      });
    });
    request.on("error", reject);
  });
}

export class Load {
  readonly result: LoadResult = { answered: 0, failures: {}, processes: new Map() };
  readonly #agent: Agent | false;
  readonly #clients: Promise<void>[];
  #isOver = false;

  constructor(port: number, { clients = 16, keepAlive = false } = {}) {
    this.#agent = keepAlive ? new Agent({ keepAlive: true, maxSockets: clients }) : false;
    this.#clients = Array.from({ length: clients }, () => this.#run(port));
  }

  /** Lets every client finish its request. */
  async stop(): Promise<LoadResult> {
    this.#isOver = true;
    await Promise.all(this.#clients);
    if (this.#agent !== false) this.#agent.destroy();
    return this.result;
  }

  async #run(port: number): Promise<void> {
    const { result } = this;
    while (!this.#isOver) {
      try {
        const { pid } = await ask(port, "/", this.#agent);
        result.answered++;
        result.processes.set(pid, (result.processes.get(pid) ?? 0) + 1);
      } catch (error) {
        const { code, message } = error as NodeJS.ErrnoException;
        const name = code ?? message;
        result.failures[name] = (result.failures[name] ?? 0) + 1;
      }
    }
  }
}
