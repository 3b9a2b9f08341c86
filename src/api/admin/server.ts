/**
 * The Admin API as an HTTP server: who may ask, what is bounded, what failures look like, and a line in the audit log for
 * every write. What is asked for is done by `operations.ts`. It behaves as APISIX's does, byte for byte where clients look,
 * and adds `?wait=live`, `If-Match` and JSON pointers in errors.
 */

import { fastify, type FastifyInstance, type FastifyReply, type FastifyRequest } from "fastify";
import type { AdminConfig, AdminKey } from "../../config/static-config.ts";
import type { Log } from "../../lib/log.ts";
import { AUDIT_SUPPRESSED, type GaugeLanes } from "../../shared/gauge-lanes.ts";
import { StoreRefusedError, StoreUnavailableError } from "../../store/contract.ts";
import type { HostCheck } from "../host-check.ts";
import { AdminAccess, type Identity } from "./access.ts";
import { type Answer, AnswerError, refuse, ROUTE_NOT_FOUND } from "./answer.ts";
import { AuditTrail } from "./audit.ts";
import { MAX_BATCH_BYTES } from "./batch/request.ts";
import { LONGEST_DOCUMENT_BYTES } from "./configs.ts";
import { type AdminCall, AdminOperations, type OperationParts, type Outcome } from "./operations.ts";
import { lastOf, type Query } from "./query.ts";
import { send } from "./send.ts";
import { discardBody } from "./unread-body.ts";

export interface AdminParts extends OperationParts {
  config: AdminConfig;
  keys: readonly AdminKey[];
  /** Asked where no key is. */
  hosts: HostCheck;
  /** Of writes; must not be silenced. */
  audit: Log;
  /** Where what the audit log only counts is counted. */
  gauges?: GaugeLanes;
}

const PREFIX = "/apisix/admin";
const METHODS = ["GET", "PUT", "POST", "DELETE", "PATCH"] as const;
const HEADER_TIMEOUT_MS = 10_000;
const REQUEST_TIMEOUT_MS = 60_000;
const MAX_CONNECTIONS = 1000;

/** Makes the server; the caller lets it listen. */
export function createAdminServer(parts: AdminParts): FastifyInstance {
  const { config } = parts;
  const server = fastify({
    logger: false,
    bodyLimit: config.maxBodyBytes,
    exposeHeadRoutes: false,
    requestTimeout: REQUEST_TIMEOUT_MS,
    forceCloseConnections: true,
    routerOptions: { maxParamLength: 4096 },
    // APISIX answers 404 where a path cannot be read.
    frameworkErrors: (_error, _request, reply) => {
      void send(reply, ROUTE_NOT_FOUND);
    },
  });
  server.server.headersTimeout = HEADER_TIMEOUT_MS;
  server.server.maxConnections = MAX_CONNECTIONS;
  const api = new AdminApi(parts);
  server.removeAllContentTypeParsers();
  server.addContentTypeParser("*", { parseAs: "string" }, (_request, body, done) => done(null, body));
  server.addHook("onRequest", (request, reply, done) => api.admit(request, reply, done));
  server.head(PREFIX, (_request, reply) => send(reply, { status: 200 }));
  server.route({
    method: [...METHODS],
    url: `${PREFIX}/*`,
    onRequest: (request, reply, done) => api.authenticate(request, reply, done),
    handler: (request, reply) => api.handle(request, reply),
  });
  server.route({
    method: "POST",
    url: `${PREFIX}/batch`,
    bodyLimit: Math.max(MAX_BATCH_BYTES, config.maxBodyBytes),
    onRequest: (request, reply, done) => api.authenticate(request, reply, done),
    handler: (request, reply) => api.handle(request, reply),
  });
  if (parts.document !== undefined && parts.document !== null) addConfigs(server, api);
  server.addHook("onClose", (_server, done) => {
    api.close();
    done();
  });
  server.setNotFoundHandler((_request, reply) => send(reply, ROUTE_NOT_FOUND));
  server.setErrorHandler(async (error, request, reply) => {
    if (isTooLarge(error)) await discardBody(request.raw);
    return send(reply, api.answerTo(error, request));
  });
  return server;
}

function isTooLarge(error: unknown): boolean {
  return (error as { code?: string }).code === "FST_ERR_CTP_BODY_TOO_LARGE";
}

function addConfigs(server: FastifyInstance, api: AdminApi): void {
  const route = {
    bodyLimit: LONGEST_DOCUMENT_BYTES,
    onRequest: (request: FastifyRequest, reply: FastifyReply, done: () => void) =>
      api.authenticate(request, reply, done),
    handler: (request: FastifyRequest, reply: FastifyReply) => api.handle(request, reply),
  };
  server.route({ ...route, method: ["GET", "HEAD", "PUT"], url: `${PREFIX}/configs` });
  server.route({ ...route, method: "POST", url: `${PREFIX}/configs/validate` });
}

class AdminApi {
  readonly #parts: AdminParts;
  readonly #access: AdminAccess;
  readonly #operations: AdminOperations;
  readonly #trail: AuditTrail;
  readonly #identities = new WeakMap<FastifyRequest, Identity>();

  constructor(parts: AdminParts) {
    this.#parts = parts;
    this.#access = new AdminAccess(parts.config, parts.keys);
    this.#operations = new AdminOperations(parts);
    this.#trail = new AuditTrail(parts.audit, () => parts.gauges?.add(AUDIT_SUPPRESSED, 1));
  }

  close(): void {
    this.#trail.close();
  }

  /** Headers of every answer, the allow list, and preflights. */
  admit(request: FastifyRequest, reply: FastifyReply, done: () => void): void {
    const { cors, serverHeader, allow, keyRequired } = this.#parts.config;
    if (serverHeader !== null) reply.header("server", serverHeader);
    if (!this.#access.allowsAddress(request.ip, allow.length === 0)) {
      void send(reply, refuse(403, `the address ${request.ip} is not in allow_admin`));
      return;
    }
    const foreign = keyRequired ? null : this.#parts.hosts.refusalOf(request.headers.host);
    if (foreign !== null) {
      void send(reply, refuse(403, foreign));
      return;
    }
    if (cors) {
      reply.header("access-control-allow-origin", "*");
      reply.header("access-control-allow-credentials", "true");
      reply.header("access-control-max-age", "3600");
      if (request.method === "OPTIONS") {
        reply.header("access-control-allow-methods", "POST, GET, PUT, OPTIONS, DELETE, PATCH");
        reply.header("access-control-allow-headers", "*");
        void reply.code(200).type("text/plain").send("");
        return;
      }
      reply.header("access-control-expose-headers", "*");
    }
    done();
  }

  /** Before the body is read: who has no key must not make the node hold bodies. */
  authenticate(request: FastifyRequest, reply: FastifyReply, done: () => void): void {
    const query = request.query as Query;
    const identity = this.#access.identify({
      method: request.method,
      query: lastOf(query["api_key"]),
      // With underscores it is the same to nginx, and so to clients of APISIX.
      header: lastOf(request.headers["x-api-key"] ?? request.headers["x_api_key"]),
      cookie: request.headers.cookie,
      origin: request.headers.origin,
      host: request.headers.host,
    });
    if ("status" in identity) {
      if (request.method !== "GET") this.#audit(request, null, { answer: identity });
      void send(reply, identity);
      return;
    }
    this.#identities.set(request, identity);
    done();
  }

  async handle(request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
    const query = request.query as Query;
    const identity = this.#identities.get(request)!;
    const call: AdminCall = { request, path: pathOf(request), query, identity, subject: null };
    const outcome = await this.#outcomeOf(call);
    if (outcome.isWrite === true) this.#audit(request, call, outcome);
    reply.header("x-api-version", "v3");
    return send(reply, outcome.answer);
  }

  /** Refusals of writes are outcomes too: they are audited. */
  async #outcomeOf(call: AdminCall): Promise<Outcome> {
    try {
      return await this.#operations.run(call);
    } catch (error) {
      const { request } = call;
      return { answer: this.answerTo(error, request), isWrite: request.method !== "GET" };
    }
  }

  /** `call`: null where nobody is known. */
  #audit(request: FastifyRequest, call: AdminCall | null, outcome: Outcome): void {
    const { answer, revision, resources } = outcome;
    const subject = resources === undefined ? call?.subject : { resources };
    const { method, ip: address } = request;
    const author = call?.identity.name ?? null;
    const record = { author, address, method, path: pathOf(request), ...(subject && { subject }) };
    this.#trail.write(record, answer, revision);
  }

  /** What failures look like to the client. */
  answerTo(error: unknown, request: FastifyRequest): Answer {
    if (error instanceof AnswerError) return error.answer;
    if (error instanceof StoreUnavailableError) return refuse(503, error.message);
    if (error instanceof StoreRefusedError) return refuse(413, error.message);
    const { statusCode, message } = error as { statusCode?: number; message: string };
    if (isTooLarge(error)) {
      const size = request.headers["content-length"] ?? "of the body";
      const limit = request.routeOptions.bodyLimit;
      return refuse(
        400,
        `invalid request body: request size ${size} is greater than the maximum size ${limit} allowed`,
      );
    }
    if (statusCode !== undefined && statusCode < 500) return refuse(400, `invalid request: ${message}`);
    this.#parts.log.error("the Admin API failed", {
      method: request.method,
      // Without the query, which may hold a key.
      path: request.url.split("?", 1)[0],
      error: String(error),
    });
    return refuse(500, "internal error; see the log of the node");
  }
}

/** Behind the prefix, without the query. */
function pathOf({ url }: FastifyRequest): string {
  return url.split("?", 1)[0].slice(PREFIX.length);
}
