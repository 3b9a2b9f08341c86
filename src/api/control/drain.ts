/**
 * `POST /v1/upstreams/{id}/nodes/{host:port}/drain`: takes a node out on this machine, `DELETE` puts it back,
 * `GET` tells what runs there, `GET /v1/drains` lists all.
 *
 * `?wait=drained` answers when no worker begins anything there and nothing runs any more, or with 504 and what is
 * left when `timeout` (seconds, 30 by default) is over; the node stays drained then, too. The last node that serves
 * is drained only with `?force=true`.
 */

import type { FastifyInstance, FastifyReply } from "fastify";
import type { Discoveries } from "../../control/discovery/discoveries.ts";
import type { Drains, DrainState } from "../../control/health/drains.ts";
import type { ConfigurationState } from "../../control/state.ts";
import type { PublishedUpstream } from "../../model/published.ts";

const DEFAULT_TIMEOUT_S = 30;
const MAX_TIMEOUT_S = 3600;

interface Place {
  id: string;
  host: string;
  port: number;
  upstream: PublishedUpstream;
}

interface DrainRequest {
  Params: { id: string; node: string };
  Querystring: Record<string, string | undefined>;
}

const PATH = "/v1/upstreams/:id/nodes/:node/drain";

/** Upstreams as workers have them, by their ids; null: there is none in service. */
type UpstreamOf = (id: string) => PublishedUpstream | null;

/** `discoveries`: fills in the nodes of upstreams that name a service; absent: nobody does. */
export function addDrain(
  server: FastifyInstance,
  state: ConfigurationState,
  drains: Drains,
  discoveries?: Discoveries,
): void {
  const upstreamOf: UpstreamOf = (id) => {
    const published = state.get("upstreams", id)?.published ?? null;
    if (published === null) return null;
    const item = { kind: "upstream", id, value: published } as const;
    return JSON.parse((discoveries?.filled(item) ?? item).value!) as PublishedUpstream;
  };
  server.get("/v1/drains", () => {
    const list = drains.list();
    return { list, total: list.length };
  });
  server.get<DrainRequest>(PATH, async ({ params }, reply) => {
    const place = placeOf(upstreamOf, params, reply);
    if (place === null) return reply;
    if (!drains.has(place.id, place.host, place.port)) return reply.code(404).send(notDrained(params));
    return shown(await drains.state(place.id, place.host, place.port));
  });
  server.post<DrainRequest>(PATH, async ({ params, query }, reply) => {
    const place = placeOf(upstreamOf, params, reply);
    const timeoutMs = timeoutOf(query, reply);
    if (place === null || timeoutMs === null) return reply;
    const { id, host, port } = place;
    if (query["force"] !== "true" && isLast(place, drains)) {
      const message = `${params.node} is the last node of upstream ${id} that serves: ?force=true drains it, too`;
      return reply.code(409).send({ error_msg: message });
    }
    if (!drains.begin(id, host, port))
      return reply.code(507).send({ error_msg: "too many nodes are drained" });
    const found = await drains.state(id, host, port, timeoutMs);
    return reply.code(timeoutMs > 0 && !found.isDrained ? 504 : 200).send(shown(found));
  });
  server.delete<DrainRequest>(PATH, ({ params }, reply) => {
    const { host, port } = splitNode(params.node) ?? { host: "", port: 0 };
    if (!drains.undo(params.id, host, port)) return reply.code(404).send(notDrained(params));
    return reply.send({ drained: false });
  });
}

/** Null: the reply is sent. */
function placeOf(upstreamOf: UpstreamOf, params: DrainRequest["Params"], reply: FastifyReply): Place | null {
  const { id, node } = params;
  const split = splitNode(node);
  if (split === null) {
    void reply.code(400).send({ error_msg: `node: given "${node}", expected host:port` });
    return null;
  }
  const upstream = upstreamOf(id);
  if (upstream === null) {
    void reply.code(404).send({ error_msg: `upstreams[${id}] not found` });
    return null;
  }
  const { host, port } = split;
  if (!upstream.nodes.some((each) => each.host === host && each.port === port)) {
    void reply.code(404).send({ error_msg: `upstreams[${id}] has no node ${node}` });
    return null;
  }
  return { id, host, port, upstream };
}

/** 0: it is not waited; null: the reply is sent. */
export function timeoutOf(query: Record<string, string | undefined>, reply: FastifyReply): number | null {
  const { wait, timeout = String(DEFAULT_TIMEOUT_S) } = query;
  if (wait === undefined) return 0;
  const seconds = Number(timeout);
  if (wait === "drained" && seconds > 0 && seconds <= MAX_TIMEOUT_S) return seconds * 1000;
  const message =
    wait === "drained"
      ? `timeout: given "${timeout}", expected seconds above 0 and up to ${MAX_TIMEOUT_S}`
      : `wait: given "${wait}", expected drained`;
  void reply.code(400).send({ error_msg: message });
  return null;
}

function isLast({ id, host, port, upstream }: Place, drains: Drains): boolean {
  return !upstream.nodes.some((node) => {
    if (node.weight === 0 || (node.host === host && node.port === port)) return false;
    return !drains.has(id, node.host, node.port);
  });
}

function shown({ isDrained, inFlight, workers }: DrainState): object {
  return {
    drained: isDrained,
    in_flight: inFlight,
    workers: workers.map(({ worker, inFlight: count }) => ({ worker, in_flight: count })),
  };
}

function notDrained({ id, node }: DrainRequest["Params"]): object {
  return { error_msg: `node ${node} of upstreams[${id}] is not drained` };
}

/** "a.test:80", "10.0.0.1:80", "[fd00::1]:80". */
export function splitNode(node: string): { host: string; port: number } | null {
  const [, host, port] = /^(.+):(\d{1,5})$/.exec(node) ?? [];
  if (host === undefined) return null;
  const bare = host.startsWith("[") && host.endsWith("]") ? host.slice(1, -1) : host;
  return { host: bare.toLowerCase(), port: Number(port) };
}
