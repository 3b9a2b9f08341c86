/**
 * The port of the metrics page: nothing but this page, at its path, for who names a host that `HostCheck` lets pass.
 *
 * The page is written as fast as its reader takes it. A reader that takes nothing for `STALL_MS` loses its connection,
 * and so does one whose page breaks off: a page that ends in order is whole.
 */

import type { IncomingMessage, Server, ServerResponse } from "node:http";
import { http } from "../../lib/node-http.ts";
import type { HostCheck } from "../host-check.ts";
import { failed, type MetricsPage, type RenderedPage, tooMany } from "./page.ts";

const STALL_MS = 10_000;

/** Makes the server; the caller lets it listen. */
export function createMetricsServer(
  page: MetricsPage,
  uri: string,
  hosts: HostCheck,
  stallMs = STALL_MS,
): Server {
  const server = http.createServer({ headersTimeout: 5000, requestTimeout: 5000 }, (request, response) => {
    const foreign = hosts.refusalOf(request.headers.host);
    if (foreign !== null) response.writeHead(403, { "content-type": "text/plain" }).end(`${foreign}\n`);
    else if (request.url!.split("?", 1)[0] === uri) void answer(page, request, response, stallMs);
    else response.writeHead(404, { "content-type": "text/plain" }).end(`the metrics are at ${uri}\n`);
  });
  server.maxConnections = 100;
  return server;
}

async function answer(
  page: MetricsPage,
  request: IncomingMessage,
  response: ServerResponse,
  stallMs: number,
): Promise<void> {
  const streamed = page.stream(request.headers.accept);
  if (streamed === null) {
    whole(response, tooMany());
    return;
  }
  try {
    for await (const chunk of streamed.chunks) {
      if (!response.headersSent) response.writeHead(200, { "content-type": streamed.contentType });
      await sent(response, chunk, stallMs);
    }
    response.end();
  } catch (error) {
    if (response.headersSent) response.destroy();
    else whole(response, failed(error));
  }
}

/** Ends when the chunk is with the kernel, and its bytes are free; rejects when the reader left or stalls. */
async function sent(response: ServerResponse, chunk: Buffer, stallMs: number): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const stalled = setTimeout(() => reject(new Error("the reader stalls")), stallMs);
  const left = (): void => reject(new Error("the reader left"));
  response.once("close", left);
  response.write(chunk, (error) => (error ? reject(error) : resolve()));
  try {
    if (response.destroyed) left();
    await promise;
  } finally {
    clearTimeout(stalled);
    response.off("close", left);
  }
}

function whole(response: ServerResponse, { status, contentType, body }: RenderedPage): void {
  response.writeHead(status, {
    "content-type": contentType,
    "content-length": body.length,
    ...(status === 503 && { "retry-after": "1" }),
  });
  response.end(body);
}
