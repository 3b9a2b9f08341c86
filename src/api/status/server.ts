/**
 * Answers to those who ask whether the node lives and may get traffic: `/status` while the control thread
 * runs, `/status/ready` once every worker serves a configuration, and no longer while the node drains or its
 * configuration is older than it may be.
 */

import type { Server, ServerResponse } from "node:http";
import { http } from "../../lib/node-http.ts";
import type { Threads } from "../../shared/threads.ts";

export interface StatusParts {
  threads: Threads;
  isDraining(): boolean;
  /** Why the node must get no traffic although it could serve; null or absent: nothing. */
  objection?(): string | null;
}

/** Makes the server; the caller lets it listen. */
export function createStatusServer(parts: StatusParts): Server {
  const server = http.createServer({ headersTimeout: 5000, requestTimeout: 5000 }, (request, response) => {
    const path = request.url!.split("?", 1)[0];
    if (path === "/status") answer(response, 200, { status: "ok" });
    else if (path === "/status/ready") answerReady(response, parts);
    else answer(response, 404, { error_msg: "404 Route Not Found" });
  });
  server.maxConnections = 100;
  return server;
}

function answerReady(response: ServerResponse, parts: StatusParts): void {
  const error = parts.isDraining()
    ? "the node is draining"
    : (missingConfiguration(parts.threads) ?? parts.objection?.() ?? null);
  if (error === null) answer(response, 200, { status: "ok" });
  else answer(response, 503, { status: "error", error });
}

function missingConfiguration(threads: Threads): string | null {
  for (let slot = 0; slot < threads.workers; slot++) {
    if (threads.applied(slot) === 0) return `worker id: ${slot} has not received configuration`;
  }
  return null;
}

function answer(response: ServerResponse, status: number, body: object): void {
  response.writeHead(status, { "content-type": "application/json" });
  response.end(`${JSON.stringify(body)}\n`);
}
