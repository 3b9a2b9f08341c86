/** Origins in the process of the test: plain HTTP ones that say their name, and raw ones that see bytes. */

import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { createServer as createRawServer, type AddressInfo, type Server, type Socket } from "node:net";
import type { TestContext } from "node:test";
import { Worker } from "node:worker_threads";

export interface Origin {
  /** "127.0.0.1:port", as a node of an upstream. */
  address: string;
  server: Server;
}

async function listen(t: TestContext, server: Server): Promise<Origin> {
  const sockets = new Set<Socket>();
  server.on("connection", (socket: Socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    socket.once("close", () => sockets.delete(socket));
  });
  server.listen({ port: 0, host: "127.0.0.1", backlog: 4096 });
  await once(server, "listening");
  t.after(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  return { address: `127.0.0.1:${(server.address() as AddressInfo).port}`, server };
}

export async function httpOrigin(
  t: TestContext,
  answer: (request: IncomingMessage, response: ServerResponse) => void,
): Promise<Origin> {
  return await listen(t, createServer({ keepAliveTimeout: 60_000 }, answer));
}

/** Answers "name path" to everything, once the request is read. */
export async function namedOrigin(t: TestContext, name: string): Promise<Origin> {
  return await httpOrigin(t, (request, response) => {
    request.resume();
    request.on("end", () => response.end(`${name} ${request.url}`));
  });
}

export async function rawOrigin(t: TestContext, onSocket: (socket: Socket) => void): Promise<Origin> {
  return await listen(t, createRawServer(onSocket));
}

/** An upstream of these origins, round robin, without retries. */
export function upstreamOf(...origins: Pick<Origin, "address">[]): object {
  const nodes = Object.fromEntries(origins.map(({ address }) => [address, 1]));
  return { type: "roundrobin", nodes };
}

export interface LargeOrigin {
  address: string;
  /** What it could send so far. */
  sentBytes(): number;
}

/** Answers everything with 1 GiB, in a thread of its own. */
export async function largeOrigin(t: TestContext): Promise<LargeOrigin> {
  const shared = new SharedArrayBuffer(8);
  const thread = new Worker(new URL("large-origin-thread.ts", import.meta.url), { workerData: shared });
  t.after(() => thread.terminate());
  const [port] = (await once(thread, "message")) as [number];
  const sent = new BigInt64Array(shared);
  return { address: `127.0.0.1:${port}`, sentBytes: () => Number(Atomics.load(sent, 0)) };
}
