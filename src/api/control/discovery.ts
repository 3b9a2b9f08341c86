/**
 * `GET /v1/discovery/{type}/dump`: what is known of the services in use (that of DNS, which APISIX has not, is
 * `GET /v1/discovery/{type}`, as for all), `GET /v1/discovery/{type}/show_dump_file`: the
 * dump file as it is, both as in APISIX.
 *
 * `POST /v1/discovery/{type}/purge` asks the discovery anew and answers when its nodes are live on every worker. With
 * `?service=web&node=10.0.0.1:80` it takes that node out at once, before the registry says so; with `wait=drained` it
 * answers when nothing runs there any more, or with 504 and what is left when `timeout` (seconds, 30 by default) is over.
 * The node comes back when the registry lists it again after it did not, at the latest after ten minutes.
 */

import type { FastifyInstance, FastifyReply } from "fastify";
import type { Discoveries } from "../../control/discovery/discoveries.ts";
import { labelOf } from "../../control/discovery/node-source.ts";
import { type ServiceNodes, placeOf } from "../../control/discovery/node-table.ts";
import type { Drains } from "../../control/health/drains.ts";
import type { Publisher } from "../../control/publish.ts";
import { splitNode } from "../drain-place.ts";
import { timeoutOf } from "./drain.ts";

export interface DiscoveryParts {
  discoveries: Discoveries;
  /** Null: what runs on a node cannot be told. */
  drains: Drains | null;
  publisher: Publisher;
}

interface DiscoveryRequest {
  Params: { type: string };
  Querystring: Record<string, string | undefined>;
}

/** A node that is taken out. */
interface Purged {
  place: string;
  host: string;
  port: number;
  /** Services that have it now; none: the registry has been faster. */
  services: ServiceNodes[];
  /** Ids of upstreams that use the service. */
  upstreams: string[];
}

const UPSTREAM = "upstream/";
/** As in APISIX. */
const WITHOUT_DUMP = "dns";
const APPLY_WITHIN_MS = 5000;

export function addDiscovery(server: FastifyInstance, parts: DiscoveryParts): void {
  const { discoveries, drains, publisher } = parts;
  const tell = (type: string, reply: FastifyReply): FastifyReply => {
    if (!isKnown(discoveries, type, reply)) return reply;
    const services: Record<string, object> = {};
    for (const service of discoveries.services(type)) services[labelOf(service.need)] = shownNodes(service);
    const states = discoveries.services(type).map(shownState);
    return reply.send({ config: discoveries.shownConfig(type), services, states });
  };
  server.get<DiscoveryRequest>("/v1/discovery/:type", ({ params }, reply) => tell(params.type, reply));
  server.get<DiscoveryRequest>("/v1/discovery/:type/dump", ({ params: { type } }, reply) => {
    if (type !== WITHOUT_DUMP) return tell(type, reply);
    return reply.code(404).send({ error_msg: `discovery[${type}] has no dump: see /v1/discovery/${type}` });
  });
  server.get<DiscoveryRequest>("/v1/discovery/:type/show_dump_file", ({ params: { type } }, reply) => {
    if (!isKnown(discoveries, type, reply)) return reply;
    const file = discoveries.dumpFile(type);
    if (file === null) return reply.code(503).send({ error_msg: "dump params is nil" });
    try {
      return reply.send(file.text());
    } catch {
      return reply.code(503).send({ error_msg: "the dump file cannot be read" });
    }
  });
  server.post<DiscoveryRequest>("/v1/discovery/:type/purge", async ({ params: { type }, query }, reply) => {
    if (!isKnown(discoveries, type, reply)) return reply;
    const timeoutMs = timeoutOf(query, reply);
    if (timeoutMs === null) return reply;
    const endMs = performance.now() + timeoutMs;
    if (query["node"] === undefined) {
      await discoveries.refresh(type);
      const behind = await publisher.whenApplied(publisher.flush(), APPLY_WITHIN_MS);
      return reply.code(behind.length === 0 ? 200 : 504).send({ type, workers_behind: behind });
    }
    const purged = purgedOf(parts, type, query, timeoutMs, reply);
    if (purged === null) return reply;
    const leftMs = (): number => Math.max(0, endMs - performance.now());
    if (timeoutMs > 0 && drains !== null && purged.services.length > 0) {
      for (const id of purged.upstreams) drains.begin(id, purged.host, purged.port);
      await inFlight(drains, purged, leftMs());
    }
    for (const { need } of purged.services) discoveries.exclude(need.key, purged.place);
    const behind = await publisher.whenApplied(publisher.flush(), Math.max(APPLY_WITHIN_MS, leftMs()));
    // The drain ends when the node leaves its upstream, a moment before workers know: what began then is waited for, too.
    const running = timeoutMs > 0 && drains !== null ? await inFlight(drains, purged, leftMs()) : null;
    const isDone = behind.length === 0 && (running ?? 0) === 0;
    return reply.code(isDone ? 200 : 504).send({
      type,
      service: query["service"],
      node: purged.place,
      removed: behind.length === 0,
      workers_behind: behind,
      ...(running !== null && { drained: running === 0, in_flight: running }),
    });
  });
}

/** False: the reply is sent. */
function isKnown(discoveries: Discoveries, type: string, reply: FastifyReply): boolean {
  for (const known of discoveries.types()) if (known === type) return true;
  void reply.code(404).send({ error_msg: `discovery[${type}] is not set up` });
  return false;
}

/** Null: the reply is sent. */
function purgedOf(
  { discoveries, drains }: DiscoveryParts,
  type: string,
  query: DiscoveryRequest["Querystring"],
  timeoutMs: number,
  reply: FastifyReply,
): Purged | null {
  const refuse = (status: number, message: string): null => {
    void reply.code(status).send({ error_msg: message });
    return null;
  };
  const { service, node = "" } = query;
  if (service === undefined) return refuse(400, "service: expected the name of a service beside node");
  const split = splitNode(node);
  if (split === null) return refuse(400, `node: given "${node}", expected host:port`);
  const place = placeOf(split);
  const named = discoveries.services(type, service);
  if (named.length === 0) return refuse(404, `no upstream uses the service ${service}`);
  const services = named.filter(({ nodes }) => nodes?.some((each) => placeOf(each) === place) === true);
  const isLast = services.some(({ nodes }) =>
    nodes!.every((each) => placeOf(each) === place || each.weight === 0),
  );
  if (isLast && query["force"] !== "true") {
    return refuse(409, `${place} is the last node of service ${service}: ?force=true takes it out, too`);
  }
  const users = named.flatMap(({ need }) => discoveries.usersOf(need.key));
  const others = users.filter((user) => !user.startsWith(UPSTREAM));
  if (timeoutMs > 0 && (others.length > 0 || drains === null)) {
    const message = `what runs on nodes is known of upstreams with an id only, and ${others.join(", ")} hold their own`;
    return refuse(409, `wait: ${message}`);
  }
  const upstreams = users
    .filter((user) => user.startsWith(UPSTREAM))
    .map((user) => user.slice(UPSTREAM.length));
  return { place, ...split, services, upstreams };
}

/** What runs on the node, waiting for at most so long until nothing does; a worker that does not answer is busy. */
async function inFlight(
  drains: Drains,
  { host, port, upstreams }: Purged,
  timeoutMs: number,
): Promise<number> {
  const states = await Promise.all(upstreams.map((id) => drains.state(id, host, port, timeoutMs)));
  return states.reduce((sum, state) => sum + (state.isDrained ? 0 : Math.max(1, state.inFlight)), 0);
}

function shownNodes({ nodes }: ServiceNodes): object {
  return nodes ?? [];
}

function shownState(service: ServiceNodes): object {
  const { answeredAt, failures, lastFailure, isHeld, excluded } = service;
  return {
    service: labelOf(service.need),
    answered_at: answeredAt,
    failures,
    last_failure: lastFailure,
    held: isHeld,
    taken_out: [...excluded.keys()],
  };
}
