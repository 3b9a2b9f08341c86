/**
 * The Admin API as an HTTP server: from a request to one of the operations beside this file, and from their
 * answers and failures to responses. It behaves as APISIX's does, byte for byte where clients look, and adds
 * `?wait=live`, `If-Match` and JSON pointers in errors.
 *
 * Bodies are bounded.
 */

import { Readable } from "node:stream";
import { fastify, type FastifyInstance, type FastifyReply, type FastifyRequest } from "fastify";
import type { AdminConfig, AdminKey, ListenerConfig, RouterConfig } from "../../config/static-config.ts";
import type { StoreFeed } from "../../control/feed.ts";
import { keyOf } from "../../control/keys.ts";
import type { Publisher } from "../../control/publish.ts";
import type { ConfigurationState } from "../../control/state.ts";
import type { Log } from "../../lib/log.ts";
import { slices } from "../../lib/slices.ts";
import { type Store, StoreRefusedError, StoreUnavailableError } from "../../store/contract.ts";
import { AUDIT_SUPPRESSED, type GaugeLanes } from "../../shared/gauge-lanes.ts";
import { DocumentStore } from "../../store/api/store.ts";
import type { HostCheck } from "../host-check.ts";
import { AdminAccess, type Identity } from "./access.ts";
import { type Answer, AnswerError, plainText, refuse, refuseScope } from "./answer.ts";
import { type AuditSubject, AuditTrail } from "./audit.ts";
import { MAX_BATCH_BYTES, readBatch } from "./batch/request.ts";
import { BatchWriter } from "./batch/writing.ts";
import { readBody, readLargeBody } from "./body.ts";
import { ClusterDrains, drainPath, type TakeDown } from "./drain.ts";
import { headOfConfigs, LONGEST_DOCUMENT_BYTES, putConfigs, readConfigs } from "./configs.ts";
import { diffAnswer, historyAnswer, historyTarget, revisionToRestore, versionToRestore } from "./history.ts";
import { OwnListeners } from "./own-listeners.ts";
import type { PluginList } from "./plugin-facts.ts";
import { lastOf, type Query, readTarget } from "./reading.ts";
import { pluginNames, pluginsAnswer, schemaOf, validateAgainstSchema } from "./schemas.ts";
import { stepsOf, type Target, targetOf } from "./target.ts";
import { validateConfigs } from "./validate-configs.ts";
import { discardBody } from "./unread-body.ts";
import { ResourceWriter, type WriteOutcome, type WriteRequest } from "./writing.ts";

export interface AdminParts {
  config: AdminConfig;
  keys: readonly AdminKey[];
  store: Store;
  state: ConfigurationState;
  feed: StoreFeed;
  publisher: Publisher;
  plugins: PluginList;
  log: Log;
  /** Of the API-driven mode, in which there are no single resources; absent or null: another mode. */
  document?: DocumentStore | null;
  /** How workers find routes: what a batch does to traffic depends on it. */
  routerMode: RouterConfig["http"];
  /** Of the node, all of them. */
  listeners: readonly Pick<ListenerConfig, "purpose" | "port">[];
  /** Asked where no key is. */
  hosts: HostCheck;
  /** Of writes; must not be silenced. */
  audit: Log;
  /** Absent: no nodes can be taken out. */
  takeDown?: TakeDown;
  /** Where what the audit log only counts is counted. */
  gauges?: GaugeLanes;
  now?: () => number;
}

const PREFIX = "/apisix/admin";
const METHODS = ["GET", "PUT", "POST", "DELETE", "PATCH"] as const;
/** For a document to be live before it is answered, when the client did not ask for that. */
const UNASKED_WAIT_MS = 1000;
const WAIT_SECONDS = 10;
const LONGEST_WAIT_SECONDS = 60;
const HEADER_TIMEOUT_MS = 10_000;
const REQUEST_TIMEOUT_MS = 60_000;
const MAX_CONNECTIONS = 1000;
const PIECE_CHARACTERS = 64 * 1024;

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
      void send(reply, NOT_FOUND);
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
  server.setNotFoundHandler((_request, reply) => send(reply, NOT_FOUND));
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

const NOT_FOUND: Answer = refuse(404, "404 Route Not Found");

interface Outcome {
  answer: Answer;
  /** Revision of the store after a write. */
  revision?: number;
  isWrite?: boolean;
  /** What a batch wrote. */
  resources?: readonly string[];
}

class AdminApi {
  readonly #parts: AdminParts;
  readonly #access: AdminAccess;
  readonly #writer: ResourceWriter;
  readonly #batches: BatchWriter;
  readonly #drains: ClusterDrains | null;
  readonly #trail: AuditTrail;
  readonly #identities = new WeakMap<FastifyRequest, Identity>();
  /** What requests are about whose path does not say it. */
  readonly #subjects = new WeakMap<FastifyRequest, AuditSubject>();

  constructor(parts: AdminParts) {
    this.#parts = parts;
    this.#access = new AdminAccess(parts.config, parts.keys);
    this.#trail = new AuditTrail(parts.audit, () => parts.gauges?.add(AUDIT_SUPPRESSED, 1));
    const { state, store, feed, config, plugins, routerMode: mode } = parts;
    const own = new OwnListeners(parts.listeners);
    const now = parts.now ?? Date.now;
    this.#writer = new ResourceWriter(state, store, feed, own, now);
    const { takeDown } = parts;
    this.#drains = takeDown === undefined ? null : new ClusterDrains(state, this.#writer, takeDown);
    const batch = { state, store, feed, own, now, hasStreams: config.streamRoutes !== false };
    this.#batches = new BatchWriter(batch, this.#writer, { mode, plugins });
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
    const outcome = await this.#outcomeOf(request, query, identity);
    if (outcome.isWrite === true) this.#audit(request, identity, outcome);
    reply.header("x-api-version", "v3");
    return send(reply, outcome.answer);
  }

  /** Refusals of writes are outcomes too: they are audited. */
  async #outcomeOf(request: FastifyRequest, query: Query, identity: Identity): Promise<Outcome> {
    try {
      return await this.#route(request, query, identity);
    } catch (error) {
      return { answer: this.answerTo(error, request), isWrite: request.method !== "GET" };
    }
  }

  #audit(request: FastifyRequest, identity: Identity | null, outcome: Outcome): void {
    const { answer, revision, resources } = outcome;
    const subject = resources === undefined ? this.#subjects.get(request) : { resources };
    const path = request.url.split("?", 1)[0].slice(PREFIX.length);
    const { method, ip: address } = request;
    const author = identity?.name ?? null;
    const record = { author, address, method, path, ...(subject !== undefined && { subject }) };
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

  async #route(request: FastifyRequest, query: Query, identity: Identity): Promise<Outcome> {
    const steps = stepsOf(request.url.split("?", 1)[0].slice(PREFIX.length));
    if (steps === null || steps.length === 0) return { answer: NOT_FOUND };
    const { document } = this.#parts;
    if (document !== undefined && document !== null) {
      return this.#onDocument(document, request, steps, query, identity);
    }
    if (steps[0] === "history") return this.#onHistory(request, steps.slice(1), query, identity);
    if (steps[0] === "plugins" && steps[1] === "reload") return reload(request.method, identity);
    if (steps[0] === "batch" && steps.length === 1 && request.method === "POST") {
      this.#assertLoaded();
      return this.#onBatch(request, query, identity);
    }
    const drained = this.#drains === null ? null : drainPath(steps);
    if (drained !== null) {
      this.#assertLoaded();
      const { name: author, scope } = identity;
      const { method } = request;
      const isAbandoned = (): boolean => request.raw.socket.destroyed;
      const call = { method, ...drained, query, author, scope, isAbandoned };
      const outcome = await this.#drains!.handle(call);
      return { ...outcome, isWrite: method !== "GET" };
    }
    const answer = this.#aboutTypes(request, steps, query);
    if (answer !== null) return { answer: await answer };
    const target = targetOf(steps, this.#parts.state.types);
    if (target?.type.plural === "stream_routes" && this.#parts.config.streamRoutes === false) {
      return { answer: refuse(400, "stream mode is disabled, can not add stream routes") };
    }
    if (target === null) return { answer: refuse(404, `Unsupported resource type: ${steps[0]}`) };
    this.#assertLoaded();
    return this.#onResource(request, target, query, identity);
  }

  /** Nothing must look empty that is only not known yet: clients would write everything anew. */
  #assertLoaded(): void {
    if (this.#parts.feed.origin !== "nothing") return;
    throw new StoreUnavailableError(
      "the configuration is not loaded yet: the node has just started, or the store does not answer",
    );
  }

  /** What is said about types and plugins, and checks that write nothing; null: the path is about a resource. */
  #aboutTypes(
    request: FastifyRequest,
    steps: readonly string[],
    query: Query,
  ): Answer | Promise<Answer> | null {
    const { state, plugins } = this.#parts;
    const [first, second, third] = steps;
    const { method } = request;
    if (first === "configs" && second === "validate" && method === "POST") {
      const isWhole = this.#parts.document instanceof DocumentStore;
      return readLargeBody(request).then((body) => validateConfigs(body, state, isWhole));
    }
    if (first === "schema" && second === "validate" && method === "POST") {
      return validateAgainstSchema(third, state.types, readBody(request));
    }
    if (first === "schema" || first === "plugins") {
      if (method !== "GET") return refuse(404, "not found");
      if (first === "plugins") {
        return second === "list" ? pluginNames(plugins, query) : pluginsAnswer(second, plugins, query);
      }
      return second === "plugins" && (third !== undefined || lastOf(query["all"]) === "true")
        ? pluginsAnswer(third, plugins, query)
        : schemaOf(second);
    }
    return null;
  }

  async #onResource(
    request: FastifyRequest,
    target: Target,
    query: Query,
    { name: author, scope }: Identity,
  ): Promise<Outcome> {
    const method = request.method as (typeof METHODS)[number];
    const isWrite = method !== "GET";
    const body = readBody(request);
    const ttl = ttlOf(query);
    if (!target.type.methods.includes(method)) {
      return { answer: refuse(405, `not supported \`${method}\` method for ${target.type.title}`), isWrite };
    }
    const outside = scope?.refusalOfType(target.type) ?? null;
    if (outside !== null) return { answer: refuseScope(outside), isWrite };
    if (method === "GET") return { answer: await readTarget(target, this.#parts.state, query, scope) };
    const force = lastOf(query["force"]) === "true";
    const ifMatch = ifMatchOf(request);
    return this.#write({ method, target, body, ttl, force, ifMatch, author, scope }, query);
  }

  /** The API-driven mode: what is not about the document as a whole, or about types, is not there. */
  async #onDocument(
    document: DocumentStore,
    request: FastifyRequest,
    steps: readonly string[],
    query: Query,
    { scope, mayWrite }: Identity,
  ): Promise<Outcome> {
    const { state, feed, log, now } = this.#parts;
    const { method, headers } = request;
    if (steps[0] !== "configs" || steps.length > 1) {
      return { answer: (await this.#aboutTypes(request, steps, query)) ?? NOT_FOUND };
    }
    const isWrite = method === "PUT";
    if (scope !== null)
      return { answer: refuseScope("it is limited, and the document is everything"), isWrite };
    if (method === "HEAD") return { answer: headOfConfigs(document) };
    if (method === "GET") return { answer: readConfigs({ document, state }, headers.accept, !mayWrite) };
    if (!isWrite) return { answer: NOT_FOUND };
    const waitMs = waitOf(query);
    const parts = { document, state, feed, log, ...(now === undefined ? {} : { now }) };
    const outcome = await putConfigs(parts, lastOf(headers["x-digest"]), () => readLargeBody(request));
    if (waitMs > 0 || outcome.revision === undefined) return await this.#whenLive(outcome, waitMs);
    // Clients ask the node at once.
    const { publisher } = this.#parts;
    await publisher.whenApplied(publisher.flush(), UNASKED_WAIT_MS);
    return { ...outcome, isWrite };
  }

  async #onHistory(
    request: FastifyRequest,
    steps: readonly string[],
    query: Query,
    { name: author, scope }: Identity,
  ): Promise<Outcome> {
    this.#assertLoaded();
    const { state, store } = this.#parts;
    const parts = { state, store };
    const [verb] = steps;
    const isRollback = verb === "rollback" && request.method === "POST";
    if (!isRollback && request.method !== "GET") return { answer: refuse(404, "not found") };
    const target = historyTarget(verb === "diff" || isRollback ? [] : steps, query, state);
    const outside = scope?.refusalOfType(target.type) ?? null;
    if (outside !== null) return { answer: refuseScope(outside), isWrite: isRollback };
    if (verb === "diff") return { answer: await diffAnswer(target, parts, query, scope) };
    if (!isRollback) return { answer: await historyAnswer(target, parts, query, scope) };
    const toRevision = revisionToRestore(query);
    const key = keyOf(target.type, target.id!, target.parent);
    this.#subjects.set(request, { resources: [key], toRevision });
    const version = await versionToRestore(target, parts, toRevision, scope);
    const { body } = version;
    const ttl = ttlOf(query) ?? version.ttl;
    const force = lastOf(query["force"]) === "true";
    const method = body === null ? "DELETE" : "RESTORE";
    const ifMatch = ifMatchOf(request);
    return this.#write({ method, target, body, ttl, force, ifMatch, author, scope }, query);
  }

  async #onBatch(request: FastifyRequest, query: Query, { name: author, scope }: Identity): Promise<Outcome> {
    const waitMs = waitOf(query);
    const batch = readBatch(await readLargeBody(request), this.#parts.state.types);
    const isDryRun = lastOf(query["dry_run"]) === "true";
    this.#subjects.set(request, { resources: batch.writes.map(({ key }) => key) });
    // "*": whatever there is.
    const ifMatch = ifMatchOf(request) ?? undefined;
    const outcome = await this.#batches.write(batch, { isDryRun, ifMatch, author, scope });
    return isDryRun ? { answer: outcome.answer } : await this.#whenLive(outcome, waitMs);
  }

  async #write(request: WriteRequest, query: Query): Promise<Outcome> {
    const waitMs = waitOf(query, request.target.type.isLiveWhenAnswered === true);
    return await this.#whenLive(await this.#writer.write(request), waitMs);
  }

  /** The answer of a write, once it is live if that is waited for. */
  async #whenLive(outcome: WriteOutcome, waitMs: number): Promise<Outcome> {
    const { revision } = outcome;
    if (revision === undefined || waitMs === 0) return { ...outcome, isWrite: true };
    const { publisher } = this.#parts;
    const missing = await publisher.whenApplied(publisher.flush(), waitMs);
    if (missing.length === 0) return { ...outcome, isWrite: true };
    const workers = missing.map((slot) => `worker ${slot}`).join(", ");
    const message = `the change is stored, but after ${waitMs / 1000} s it is not live on ${workers}`;
    return { ...outcome, answer: refuse(504, message, { workers: missing, revision }), isWrite: true };
  }
}

/** Nothing is done: plugins are never out of date here. */
function reload(method: string, { scope }: Identity): Outcome {
  if (method !== "PUT") {
    const message = `please use PUT method to reload the plugins, ${method} method is not allowed.`;
    return { answer: refuse(405, message) };
  }
  if (scope !== null)
    return { answer: refuseScope("it is limited, and plugins act everywhere"), isWrite: true };
  return { answer: plainText(200, "done"), isWrite: true };
}

function ttlOf(query: Query): number | undefined {
  const text = lastOf(query["ttl"]);
  if (text === undefined) return undefined;
  const seconds = text.trim() === "" ? Number.NaN : Number(text);
  if (!Number.isFinite(seconds))
    throw new AnswerError(refuse(400, "invalid argument ttl: should be a number"));
  if (seconds <= 0)
    throw new AnswerError(refuse(400, `invalid argument ttl: given ${text}, expected more than 0`));
  return seconds;
}

/** Milliseconds to wait until the write is live; 0: do not wait. `byDefault`: also where nobody asks for it. */
function waitOf(query: Query, byDefault = false): number {
  const wait = lastOf(query["wait"]);
  if (wait === undefined && !byDefault) return 0;
  if (wait !== undefined && wait !== "live")
    throw new AnswerError(refuse(400, `invalid argument wait: given ${wait}, expected live`));
  const text = lastOf(query["wait_timeout"]) ?? String(WAIT_SECONDS);
  const seconds = Number(text);
  if (!(seconds > 0 && seconds <= LONGEST_WAIT_SECONDS)) {
    const message = `invalid argument wait_timeout: given ${text}, expected up to ${LONGEST_WAIT_SECONDS} seconds`;
    throw new AnswerError(refuse(400, message));
  }
  return seconds * 1000;
}

/** The revision in `If-Match` (RFC 9110 13.1.1), null for "*". */
function ifMatchOf(request: FastifyRequest): number | null | undefined {
  const text = request.headers["if-match"];
  if (text === undefined) return undefined;
  if (text.trim() === "*") return null;
  const match = /^\s*(?:W\/)?"?(\d{1,15})"?\s*$/.exec(text);
  if (match === null) {
    throw new AnswerError(refuse(400, `If-Match: given ${text}, expected the modifiedIndex of the resource`));
  }
  return Number(match[1]);
}

function send(reply: FastifyReply, answer: Answer): FastifyReply {
  reply.code(answer.status);
  if (answer.headers !== undefined) reply.headers(answer.headers);
  reply.header("content-type", answer.headers?.["content-type"] ?? "application/json");
  if (answer.pieces !== undefined) return reply.send(Readable.from(inSlices(answer.pieces)));
  if (answer.body === undefined) return reply.send("");
  // As bytes: Fastify would add a charset to the type of a text, which JSON has not (RFC 8259 section 11).
  const text = answer.isText === true ? (answer.body as string) : `${JSON.stringify(answer.body)}\n`;
  return reply.send(Buffer.from(text));
}

/** Large enough for the network, and made in slices. */
async function* inSlices(pieces: Iterable<string>): AsyncGenerator<Buffer, void, void> {
  const breathe = slices();
  let text = "";
  for (const piece of pieces) {
    text += piece;
    if (text.length >= PIECE_CHARACTERS) {
      yield Buffer.from(text);
      text = "";
    }
    await breathe();
  }
  if (text !== "") yield Buffer.from(text);
}
