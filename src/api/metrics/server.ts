/** The metrics page over HTTP: one path, for whoever names a host that `HostCheck` lets pass. */

import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { HostCheck } from "../host-check.ts";
import type { MetricsPage } from "./page.ts";

/** Makes the server; the caller lets it listen. */
export function createMetricsServer(page: MetricsPage, uri: string, hosts: HostCheck): Server {
  const server = createServer({ headersTimeout: 5000, requestTimeout: 5000 }, (request, response) => {
    const foreign = hosts.refusalOf(request.headers.host);
    if (foreign !== null) response.writeHead(403, { "content-type": "text/plain" }).end(`${foreign}\n`);
    else if (request.url!.split("?", 1)[0] === uri) void answer(page, request, response);
    else response.writeHead(404).end();
  });
  server.maxConnections = 100;
  return server;
}

async function answer(page: MetricsPage, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { status, contentType, body } = await page.render(request.headers.accept);
  response.writeHead(status, {
    "content-type": contentType,
    "content-length": body.length,
    ...(status === 503 && { "retry-after": "1" }),
  });
  response.end(body);
}
