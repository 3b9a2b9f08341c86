/**
 * What the Admin API can do: from the path of a request to the operation that it names, and from its outcome to an answer,
 * once what was written is live where that is waited for.
 *
 * Who asks is known by then (`server.ts`); refusals are outcomes or thrown as `AnswerError`.
 */

import type { FastifyRequest } from "fastify";
import type { AdminConfig, ListenerConfig, RouterConfig } from "../../config/static-config.ts";
import type { StoreFeed } from "../../control/feed.ts";
import type { TakeDown } from "../../control/gateways/open.ts";
import { keyOf } from "../../control/keys.ts";
import type { Publisher } from "../../control/publish.ts";
import type { ConfigurationState } from "../../control/state.ts";
import type { Log } from "../../lib/log.ts";
import { DocumentStore } from "../../store/api/store.ts";
import { type Store, StoreUnavailableError } from "../../store/contract.ts";
import type { Identity } from "./access.ts";
import { type Answer, AnswerError, plainText, refuse, refuseScope, ROUTE_NOT_FOUND } from "./answer.ts";
import type { AuditSubject } from "./audit.ts";
import { readBatch } from "./batch/request.ts";
import { BatchWriter } from "./batch/writing.ts";
import { readBody, readLargeBody } from "./body.ts";
import { headOfConfigs, putConfigs, readConfigs } from "./configs.ts";
import { ClusterDrains, drainPath } from "./drain.ts";
import { diffAnswer, historyAnswer, historyTarget, revisionToRestore, versionToRestore } from "./history.ts";
import { OwnListeners } from "../../control/own-listeners.ts";
import type { PluginList } from "./plugin-facts.ts";
import { ifMatchOf, lastOf, type Query, ttlOf, waitOf } from "./query.ts";
import { readTarget } from "./reading.ts";
import { pluginNames, pluginsAnswer, schemaOf, validateAgainstSchema } from "./schemas.ts";
import { stepsOf, type Target, targetOf } from "./target.ts";
import { validateConfigs } from "./validate-configs.ts";
import type { WriteRequest } from "./write-plan.ts";
import { ResourceWriter, type WriteOutcome } from "./writing.ts";

export interface OperationParts {
  config: Pick<AdminConfig, "streamRoutes">;
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
  /** Absent: no nodes can be taken out. */
  takeDown?: TakeDown;
  now?: () => number;
}

/** A request of somebody who is known. */
export interface AdminCall {
  readonly request: FastifyRequest;
  /** Behind the prefix. */
  readonly path: string;
  readonly query: Query;
  readonly identity: Identity;
  /** What it is about, where the path does not say that; set by the operation as soon as it knows. */
  subject: AuditSubject | null;
}

export interface Outcome {
  answer: Answer;
  /** Revision of the store after a write. */
  revision?: number;
  isWrite?: boolean;
  /** What a batch wrote. */
  resources?: readonly string[];
}

/** For a document to be live before it is answered, when the client did not ask for that. */
const UNASKED_WAIT_MS = 1000;

export class AdminOperations {
  readonly #parts: OperationParts;
  readonly #writer: ResourceWriter;
  readonly #batches: BatchWriter;
  readonly #drains: ClusterDrains | null;

  constructor(parts: OperationParts) {
    this.#parts = parts;
    const { state, store, feed, config, plugins, routerMode: mode, takeDown } = parts;
    const own = new OwnListeners(parts.listeners);
    const now = parts.now ?? Date.now;
    this.#writer = new ResourceWriter(state, store, feed, own, now);
    this.#drains = takeDown === undefined ? null : new ClusterDrains(state, this.#writer, takeDown);
    const batch = { state, store, feed, own, now, hasStreams: config.streamRoutes !== false };
    this.#batches = new BatchWriter(batch, this.#writer, { mode, plugins });
  }

  /** Throws `AnswerError` for what is refused, and what the store throws. */
  async run(call: AdminCall): Promise<Outcome> {
    const { request, query, identity } = call;
    const steps = stepsOf(call.path);
    if (steps === null || steps.length === 0) return { answer: ROUTE_NOT_FOUND };
    const { document } = this.#parts;
    if (document !== undefined && document !== null) {
      return this.#onDocument(document, call, steps);
    }
    if (steps[0] === "history") return this.#onHistory(call, steps.slice(1));
    if (steps[0] === "plugins" && steps[1] === "reload") return reload(request.method, identity);
    if (steps[0] === "batch" && steps.length === 1 && request.method === "POST") {
      this.#assertLoaded();
      return this.#onBatch(call);
    }
    const drained = this.#drains === null ? null : drainPath(steps);
    if (drained !== null) {
      this.#assertLoaded();
      return this.#onDrain(call, drained);
    }
    const answer = this.#aboutTypes(request, steps, query);
    if (answer !== null) return { answer: await answer };
    const target = targetOf(steps, this.#parts.state.types);
    if (target === null) return { answer: refuse(404, `Unsupported resource type: ${steps[0]}`) };
    this.#assertHasStreams(target);
    this.#assertLoaded();
    return this.#onResource(call, target);
  }

  /** Nothing must look empty that is only not known yet: clients would write everything anew. */
  #assertLoaded(): void {
    if (this.#parts.feed.origin !== "nothing") return;
    throw new StoreUnavailableError(
      "the configuration is not loaded yet: the node has just started, or the store does not answer",
    );
  }

  #assertHasStreams({ type }: Target): void {
    if (type.plural !== "stream_routes" || this.#parts.config.streamRoutes !== false) return;
    throw new AnswerError(refuse(400, "stream mode is disabled, can not add stream routes"));
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

  async #onResource({ request, query, identity }: AdminCall, target: Target): Promise<Outcome> {
    const { name: author, scope } = identity;
    const method = request.method as "GET" | "PUT" | "POST" | "DELETE" | "PATCH";
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
    { request, query, identity }: AdminCall,
    steps: readonly string[],
  ): Promise<Outcome> {
    const { scope, mayWrite } = identity;
    const { state, feed, log, now } = this.#parts;
    const { method, headers } = request;
    if (steps[0] !== "configs" || steps.length > 1) {
      return { answer: (await this.#aboutTypes(request, steps, query)) ?? ROUTE_NOT_FOUND };
    }
    const isWrite = method === "PUT";
    if (scope !== null)
      return { answer: refuseScope("it is limited, and the document is everything"), isWrite };
    if (method === "HEAD") return { answer: headOfConfigs(document) };
    if (method === "GET") return { answer: readConfigs({ document, state }, headers.accept, !mayWrite) };
    if (!isWrite) return { answer: ROUTE_NOT_FOUND };
    const waitMs = waitOf(query);
    const parts = { document, state, feed, log, ...(now === undefined ? {} : { now }) };
    const outcome = await putConfigs(parts, lastOf(headers["x-digest"]), () => readLargeBody(request));
    if (waitMs > 0 || outcome.revision === undefined) return await this.#whenLive(outcome, waitMs);
    // Clients ask the node at once.
    const { publisher } = this.#parts;
    await publisher.whenApplied(publisher.flush(), UNASKED_WAIT_MS);
    return { ...outcome, isWrite };
  }

  async #onHistory(call: AdminCall, steps: readonly string[]): Promise<Outcome> {
    const { request, query, identity } = call;
    const { name: author, scope } = identity;
    this.#assertLoaded();
    const { state, store } = this.#parts;
    const parts = { state, store };
    const [verb] = steps;
    const isRollback = verb === "rollback" && request.method === "POST";
    if (!isRollback && request.method !== "GET") return { answer: refuse(404, "not found") };
    const target = historyTarget(verb === "diff" || isRollback ? [] : steps, query, state);
    this.#assertHasStreams(target);
    const outside = scope?.refusalOfType(target.type) ?? null;
    if (outside !== null) return { answer: refuseScope(outside), isWrite: isRollback };
    if (verb === "diff") return { answer: await diffAnswer(target, parts, query, scope) };
    if (!isRollback) return { answer: await historyAnswer(target, parts, query, scope) };
    const toRevision = revisionToRestore(query);
    const key = keyOf(target.type, target.id!, target.parent);
    call.subject = { resources: [key], toRevision };
    const version = await versionToRestore(target, parts, toRevision, scope);
    const { body } = version;
    const ttl = ttlOf(query) ?? version.ttl;
    const force = lastOf(query["force"]) === "true";
    const method = body === null ? "DELETE" : "RESTORE";
    const ifMatch = ifMatchOf(request);
    return this.#write({ method, target, body, ttl, force, ifMatch, author, scope }, query);
  }

  async #onDrain(call: AdminCall, node: NonNullable<ReturnType<typeof drainPath>>): Promise<Outcome> {
    const { request, query, identity } = call;
    const { name: author, scope } = identity;
    const { method } = request;
    const isAbandoned = (): boolean => request.raw.socket.destroyed;
    const outcome = await this.#drains!.handle({ method, ...node, query, author, scope, isAbandoned });
    return { ...outcome, isWrite: method !== "GET" };
  }

  async #onBatch(call: AdminCall): Promise<Outcome> {
    const { request, query, identity } = call;
    const { name: author, scope } = identity;
    const waitMs = waitOf(query);
    const batch = readBatch(await readLargeBody(request), this.#parts.state.types);
    const isDryRun = lastOf(query["dry_run"]) === "true";
    call.subject = { resources: batch.writes.map(({ key }) => key) };
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
