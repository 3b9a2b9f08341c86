/** The metrics page over HTTP: one path, rendered anew for each scrape, one scrape at a time. */

import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { SharedMemory } from "../../shared/shared-memory.ts";
import { type MetricsFacts, metricsContentType, metricsFormat, renderMetrics } from "./exposition.ts";

export interface MetricsParts {
  shared: SharedMemory;
  /** Path of the page. */
  uri: string;
  facts(): MetricsFacts;
}

/** Scrapes that wait for the one that runs. */
const QUEUE_LIMIT = 16;

/** Makes the server; the caller lets it listen. */
export function createMetricsServer(parts: MetricsParts): Server {
  let running: Promise<void> = Promise.resolve();
  let waiting = 0;
  const server = createServer({ headersTimeout: 5000, requestTimeout: 5000 }, (request, response) => {
    if (request.url!.split("?", 1)[0] !== parts.uri) {
      response.writeHead(404).end();
    } else if (waiting >= QUEUE_LIMIT) {
      response.writeHead(503, { "retry-after": "1" }).end();
    } else {
      waiting++;
      running = running.then(() => render(parts, request, response)).finally(() => waiting--);
    }
  });
  server.maxConnections = 100;
  return server;
}

async function render(
  parts: MetricsParts,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const format = metricsFormat(request.headers.accept);
  try {
    const chunks: Buffer[] = [];
    for await (const chunk of renderMetrics(parts.shared, parts.facts(), format)) chunks.push(chunk);
    const page = Buffer.concat(chunks);
    response.writeHead(200, { "content-type": metricsContentType(format), "content-length": page.length });
    response.end(page);
  } catch (error) {
    response.writeHead(500, { "content-type": "text/plain" });
    response.end(`the metrics could not be rendered: ${String(error)}\n`);
  }
}
