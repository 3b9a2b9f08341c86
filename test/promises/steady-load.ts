/**
 * Steady load that a change must not hurt: clients that ask one after the other, with a pause between, on kept-alive
 * and on fresh connections. Nothing is ever asked again; whatever is not the expected answer is kept.
 *
 * A client of a kept-alive connection opens another only after the gateway has announced the end of the old one.
 */

import { Agent, get } from "node:http";
import type { TestContext } from "node:test";

export interface LoadOptions {
  paths: readonly string[];
  /** Whether this answer is right. */
  expects: (path: string, status: number, body: string) => boolean;
  keptAlive?: number;
  fresh?: number;
  pauseMs?: number;
}

const KEPT_PROBLEMS = 20;
const LOOK_MS = 20;

export class SteadyLoad {
  answered = 0;
  readonly problems: string[] = [];
  readonly #port: number;
  readonly #options: LoadOptions;
  readonly #clients: Promise<void>[] = [];
  readonly #agents: Agent[] = [];
  #isOver = false;

  /** It ends with the test at the latest. */
  constructor(t: TestContext, port: number, options: LoadOptions) {
    this.#port = port;
    this.#options = options;
    t.after(() => this.stop());
    const { keptAlive = 12, fresh = 4 } = options;
    for (let i = 0; i < keptAlive; i++) {
      const agent = new Agent({ keepAlive: true, maxSockets: 1 });
      this.#agents.push(agent);
      this.#clients.push(this.#run(i, agent));
    }
    for (let i = 0; i < fresh; i++) this.#clients.push(this.#run(i, false));
  }

  /** Ends when so many requests are answered, the problems among them. */
  async reaches(answers: number): Promise<void> {
    while (this.answered + this.problems.length < answers && !this.#isOver) {
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    }
  }

  /** Lets every client finish its request. Idempotent. */
  async stop(): Promise<void> {
    this.#isOver = true;
    await Promise.all(this.#clients);
    for (const agent of this.#agents) agent.destroy();
  }

  async #run(first: number, agent: Agent | false): Promise<void> {
    const { paths, expects, pauseMs = 5 } = this.#options;
    for (let i = first; !this.#isOver; i++) {
      const path = paths[i % paths.length];
      try {
        const { status, body } = await this.#ask(path, agent);
        this.answered++;
        if (!expects(path, status, body)) this.#problem(`${path}: ${status} ${body.slice(0, 100)}`);
      } catch (error) {
        const { code, message } = error as NodeJS.ErrnoException;
        this.#problem(
          `${path}: ${code ?? message} on a ${agent === false ? "fresh" : "kept-alive"} connection`,
        );
      }
      // The pace of the load, not a wait for something.
      await new Promise((resolve) => setTimeout(resolve, pauseMs));
    }
  }

  #problem(text: string): void {
    if (this.problems.length < KEPT_PROBLEMS) this.problems.push(text);
  }

  #ask(path: string, agent: Agent | false): Promise<{ status: number; body: string }> {
    return new Promise((resolve, reject) => {
      const request = get({ host: "127.0.0.1", port: this.#port, path, agent }, (response) => {
        let body = "";
        response.setEncoding("utf8").on("data", (text: string) => (body += text));
        response.on("error", reject);
        response.on("end", () => resolve({ status: response.statusCode!, body }));
      });
      request.on("error", reject);
    });
  }
}
