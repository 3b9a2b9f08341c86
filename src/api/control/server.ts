/**
 * The Control API: what this node holds and how its threads are. Without keys, on the loopback by default: so
 * fields that are encrypted in the store are encrypted here too, and pages in browsers can neither write nor read.
 */

import { setImmediate as nextTurn } from "node:timers/promises";
import { fastify, type FastifyInstance, type FastifyRequest, type preHandlerAsyncHookHandler } from "fastify";
import type { HealthReport } from "../../control/health/report.ts";
import type { Discoveries } from "../../control/discovery/discoveries.ts";
import type { Drains } from "../../control/health/drains.ts";
import { Explanations } from "../../control/explanations.ts";
import type { Publisher } from "../../control/publish.ts";
import type { RolloutReport } from "../../control/rollouts/report.ts";
import type { ConfigurationState, StateEntry } from "../../control/state.ts";
import { runsFor } from "../../model/plugin-check.ts";
import type { PluginUse } from "../../model/resource-type.ts";
import { RESOURCE_TYPES } from "../../model/resources.ts";
import type { LimitCounters } from "../../shared/limit-counters.ts";
import { monotonicMs, type Threads } from "../../shared/threads.ts";
import { type PluginList, pluginFacts } from "../admin/plugin-facts.ts";
import type { HostCheck } from "../host-check.ts";
import { addDiscovery } from "./discovery.ts";
import { addDrain } from "./drain.ts";
import { addExplain } from "./explain.ts";
import { checker, checkers, healthPage } from "./health.ts";
import { heldText } from "./held.ts";
import { addRollouts } from "./rollouts.ts";

export interface ControlApiParts {
  state: ConfigurationState;
  publisher: Publisher;
  plugins: PluginList;
  threads: Threads;
  counters: Pick<LimitCounters, "reset">;
  hosts: HostCheck;
  /** When there is a configuration to show. Absent: there is. */
  loaded?: Promise<unknown>;
  /** Absent: nothing is checked. */
  health?: HealthReport;
  /** Absent: no node can be drained. */
  drains?: Drains;
  /** Absent: nothing is discovered. */
  discoveries?: Discoveries;
  /** Absent: nothing is rolled out. */
  rollouts?: RolloutReport;
}

const NOTHING_CHECKED: HealthReport = { nodesOf: () => [] };

/** Lists by plural name, single resources by singular name, as APISIX has them. */
const SHOWN = [
  ["routes", "route"],
  ["services", "service"],
  ["upstreams", "upstream"],
] as const;

const SLICE_ENTRIES = 500;
/** How long a request for resources waits for them at a start. */
const LOAD_WAIT_MS = 5000;

/** Makes the server; the caller lets it listen. */
export function createControlServer(parts: ControlApiParts): FastifyInstance {
  const { state, publisher, threads } = parts;
  const server = fastify({ logger: false, bodyLimit: 64 * 1024, forceCloseConnections: true });
  server.addHook("onRequest", (request, reply, done) => {
    reply.header("content-type", "application/json");
    const foreign = parts.hosts.refusalOf(request.headers.host);
    if (foreign !== null) {
      void reply.code(403).send({ error_msg: foreign });
      return;
    }
    // Browsers name the origin of a page with every POST and PUT: no page may act here on behalf of its reader.
    if (request.method !== "GET" && request.method !== "HEAD" && request.headers.origin !== undefined) {
      void reply.code(403).send({ error_msg: "requests of web pages are refused" });
      return;
    }
    done();
  });
  // Bodies are read and ignored, whatever their type.
  server.removeAllContentTypeParsers();
  server.addContentTypeParser("*", { parseAs: "string" }, (_request, _body, done) => done(null));
  // JSON ends with a line feed, as in APISIX.
  server.addHook("preSerialization", (_request, reply, value, done) => {
    reply.serializer((sent: unknown) => `${JSON.stringify(sent)}\n`);
    done(null, value);
  });
  const shown = { preHandler: holdUntilLoaded(parts.loaded ?? Promise.resolve()) };
  for (const [plural, singular] of SHOWN) {
    server.get(`/v1/${plural}`, shown, (_request, reply) =>
      listText(state, plural, parts.plugins).then((text) => reply.send(text)),
    );
    server.get<{ Params: { id: string } }>(`/v1/${singular}/:id`, shown, (request, reply) => {
      const { id } = request.params;
      const entry = state.get(plural, id);
      if (entry !== undefined) return reply.send(`${heldText(entry, parts.plugins, state)}\n`);
      return reply.code(404).send({ error_msg: `${singular}[${id}] not found` });
    });
  }
  server.get("/v1/plugin_metadatas", shown, (_request, reply) => {
    const values = [...state.list("plugin_metadata")].map((entry) => metadataText(entry, state));
    return reply.send(`[${values.join(",")}]\n`);
  });
  server.get<{ Params: { id: string } }>("/v1/plugin_metadata/:id", shown, (request, reply) => {
    const { id } = request.params;
    const entry = state.get("plugin_metadata", id);
    if (entry !== undefined) return reply.send(`${metadataText(entry, state)}\n`);
    return reply.code(404).send({ error_msg: `plugin metadata[${id}] not found` });
  });
  server.get("/v1/schema", () => schemas(parts.plugins));
  server.get("/v1/workers", () => workers(threads, publisher));
  server.get("/v1/quarantine", () => quarantine(state, publisher));
  // The garbage collector of a thread is reachable only under --expose-gc; elsewhere V8 decides.
  server.post("/v1/gc", (_request, reply) => {
    (globalThis as { gc?: () => void }).gc?.();
    return reply.code(200).send("");
  });
  // Nothing is done: plugins are never out of date here.
  server.put("/v1/plugins/reload", (_request, reply) => reply.type("text/plain").send("done"));
  const health = parts.health ?? NOTHING_CHECKED;
  server.get("/v1/healthcheck", (request, reply) => {
    const infos = checkers(state, health);
    if (wantsHtml(request)) return reply.type("text/html").send(healthPage(infos));
    // As APISIX has it: Lua's one empty table.
    return reply.send(infos.length === 0 ? {} : infos);
  });
  server.get<{ Params: { "*": string } }>("/v1/healthcheck/*", (request, reply) => {
    const [plural, id] = request.params["*"].split("/", 2);
    const info = checker(state, health, plural, id);
    if ("error" in info) return reply.code(info.status).send({ error_msg: info.error });
    return wantsHtml(request) ? reply.type("text/html").send(healthPage([info])) : reply.send(info);
  });
  addExplain(server, new Explanations(publisher));
  const { drains, discoveries, rollouts } = parts;
  if (rollouts !== undefined) addRollouts(server, rollouts);
  if (drains !== undefined) addDrain(server, state, drains, discoveries);
  if (discoveries !== undefined) addDiscovery(server, { discoveries, drains: drains ?? null, publisher });
  server.post("/v1/counters/reset", () => ({ reset: parts.counters.reset() }));
  server.setErrorHandler((error: { statusCode?: number }, _request, reply) => {
    const status = error.statusCode ?? 500;
    // The message may quote what the store holds, and this API has no key.
    return reply.code(status).send({ error_msg: status < 500 ? "invalid request" : "internal error" });
  });
  server.setNotFoundHandler((_request, reply) => reply.code(404).send({ error_msg: "404 Route Not Found" }));
  return server;
}

/** A list of what was loaded so far would look like a list of all. */
function holdUntilLoaded(loaded: Promise<unknown>): preHandlerAsyncHookHandler {
  let isLoaded = false;
  const whenLoaded = loaded.then(
    () => void (isLoaded = true),
    () => {}, // the start of control tells what went wrong
  );
  return async (_request, reply) => {
    if (isLoaded) return undefined;
    const { promise: patience, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, LOAD_WAIT_MS);
    await Promise.race([whenLoaded, patience]);
    clearTimeout(timer);
    return isLoaded ? undefined : reply.code(503).send({ error_msg: "the configuration is not loaded yet" });
  };
}

function wantsHtml(request: FastifyRequest): boolean {
  return request.headers.accept?.includes("text/html") === true;
}

function metadataText(entry: StateEntry, state: ConfigurationState): string {
  const value = state.sealed(entry);
  return value === undefined ? '"(not shown)"' : JSON.stringify(value);
}

async function listText(state: ConfigurationState, plural: string, plugins: PluginList): Promise<string> {
  const parts: string[] = [];
  for (const entry of state.list(plural)) {
    parts.push(heldText(entry, plugins, state));
    if (parts.length % SLICE_ENTRIES === 0) await nextTurn();
  }
  return `[${parts.join(",")}]\n`;
}

function schemas(plugins: PluginList): object {
  const main = Object.fromEntries(RESOURCE_TYPES.map((type) => [type.singular, type.schema]));
  const factsFor = (use: PluginUse): object => {
    const fitting = plugins.list().filter((plugin) => runsFor(plugin, use));
    return Object.fromEntries(fitting.map((plugin) => [plugin.name, pluginFacts(plugin)]));
  };
  return { main, plugins: factsFor("config"), stream_plugins: factsFor("stream") };
}

function workers(threads: Threads, publisher: Publisher): object {
  const now = monotonicMs();
  const list = [];
  for (let slot = 0; slot < threads.workers; slot++) {
    const report = threads.report(slot);
    list.push({
      slot,
      generation: report.generation,
      state: report.state,
      applied_revision: report.appliedRevision,
      last_beat_age_ms: report.lastBeatMs === 0 ? null : Math.round(now - report.lastBeatMs),
      event_loop_delay_ms: report.eventLoopDelayMs,
      heap_used_bytes: report.heapUsedBytes,
      connections: report.connections,
    });
  }
  return { published_revision: publisher.revision, workers: list };
}

/** How requests fare with what is published closed. */
function closedAs(plural: string): string {
  return plural === "ssls" ? "no handshake" : "404";
}

/** What is in the store but not in service, and why. */
function quarantine(state: ConfigurationState, publisher: Publisher): object {
  const list: object[] = [];
  for (const { type, key, fault, published, isClosed, modRevision } of state.quarantined()) {
    const { reason, pointer, since } = fault!;
    const serving = published === null ? "nothing" : isClosed ? closedAs(type.plural) : "previous version";
    list.push({
      key: `/apisix${key}`,
      source: "control",
      reason,
      pointer,
      serving,
      modifiedIndex: modRevision,
      since,
    });
  }
  for (const { kind, id, reason, slot, since } of publisher.refusals()) {
    list.push({ kind, id, source: `worker ${slot}`, reason, since });
  }
  return { list, total: list.length };
}
