/** Writes resources through the Admin API, many at a time; the one place where the benchmark does so. */

import { Agent, request } from "node:http";

/** Known to the gateways that the benchmark starts, on the loopback, for as long as it runs. */
export const ADMIN_KEY = "bench-0123456789abcdef0123456789abcdef";
const CONCURRENCY = 64;

export interface Resource {
  /** Below /apisix/admin: "routes/1". */
  path: string;
  body: unknown;
}

export class AdminClient {
  readonly #port: number;
  readonly #agent = new Agent({ keepAlive: true, maxSockets: CONCURRENCY });

  constructor(port: number) {
    this.#port = port;
  }

  put(path: string, body: unknown): Promise<void> {
    return this.#send("PUT", path, JSON.stringify(body));
  }

  delete(path: string): Promise<void> {
    return this.#send("DELETE", path, "");
  }

  /** Writes all: the first ones one by one (others refer to them), then `CONCURRENCY` at a time; live at the end. */
  async putAll(inOrder: readonly Resource[], rest: readonly Resource[]): Promise<void> {
    for (const { path, body } of inOrder) await this.put(path, body);
    let next = 0;
    const lane = async (): Promise<void> => {
      while (next < rest.length) {
        const { path, body } = rest[next++];
        await this.put(path, body);
      }
    };
    await Promise.all(Array.from({ length: CONCURRENCY }, lane));
    const last = rest.at(-1) ?? inOrder.at(-1);
    if (last !== undefined) await this.put(`${last.path}?wait=live`, last.body);
  }

  close(): void {
    this.#agent.destroy();
  }

  #send(method: string, path: string, text: string): Promise<void> {
    return new Promise((resolve, reject) => {
      const outgoing = request(
        {
          host: "127.0.0.1",
          port: this.#port,
          method,
          path: `/apisix/admin/${path}`,
          agent: this.#agent,
          headers: {
            "x-api-key": ADMIN_KEY,
            "content-type": "application/json",
            "content-length": Buffer.byteLength(text),
          },
        },
        (answer) => {
          const chunks: Buffer[] = [];
          answer.on("data", (chunk: Buffer) => chunks.push(chunk));
          answer.on("error", reject);
          answer.on("end", () => {
            if (answer.statusCode! < 300) resolve();
            else
              reject(
                new Error(`${method} ${path}: ${answer.statusCode} ${Buffer.concat(chunks).toString()}`),
              );
          });
        },
      );
      outgoing.on("error", reject);
      outgoing.end(text);
    });
  }
}
