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
import { type UpstreamOf, upstreamsOf } from "../../control/upstreams-in-service.ts";
import { isRefusal, type Place, readPlace, readTimeout, refusalOfLast, splitNode } from "../drain-place.ts";

interface DrainRequest {
  Params: { id: string; node: string };
  Querystring: Record<string, string | undefined>;
}

const PATH = "/v1/upstreams/:id/nodes/:node/drain";

/** `discoveries`: fills in the nodes of upstreams that name a service; absent: nobody does. */
export function addDrain(
  server: FastifyInstance,
  state: ConfigurationState,
  drains: Drains,
  discoveries?: Discoveries,
): void {
  const upstreamOf = upstreamsOf(state, discoveries);
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
  server.post<DrainRequest>(PATH, async ({ params, query, raw }, reply) => {
    const place = placeOf(upstreamOf, params, reply);
    const timeoutMs = timeoutOf(query, reply);
    if (place === null || timeoutMs === null) return reply;
    const { id, host, port } = place;
    const last = query["force"] === "true" ? null : refusalOfLast(place, drains);
    if (last !== null) return reply.code(last.status).send({ error_msg: last.message });
    if (!drains.begin(id, host, port))
      return reply.code(507).send({ error_msg: "too many nodes are drained" });
    const found = await drains.state(id, host, port, timeoutMs, () => raw.socket.destroyed);
    return reply.code(timeoutMs > 0 && !found.isDrained ? 504 : 200).send(shown(found));
  });
  server.delete<DrainRequest>(PATH, ({ params }, reply) => {
    const { host, port } = splitNode(params.node) ?? { host: "", port: 0 };
    const wasOwn = drains.undo(params.id, host, port);
    if (drains.isShared(params.id, host, port)) {
      const message = `node ${params.node} is drained on all gateways: DELETE it with the Admin API`;
      return reply.code(409).send({ error_msg: message });
    }
    return wasOwn ? reply.send({ drained: false }) : reply.code(404).send(notDrained(params));
  });
}

/** Null: the reply is sent. */
function placeOf(upstreamOf: UpstreamOf, params: DrainRequest["Params"], reply: FastifyReply): Place | null {
  const place = readPlace(upstreamOf, params.id, params.node);
  if (!isRefusal(place)) return place;
  void reply.code(place.status).send({ error_msg: place.message });
  return null;
}

/** 0: it is not waited; null: the reply is sent. */
export function timeoutOf(query: Record<string, string | undefined>, reply: FastifyReply): number | null {
  const timeoutMs = readTimeout(query["wait"], query["timeout"]);
  if (typeof timeoutMs === "number") return timeoutMs;
  void reply.code(timeoutMs.status).send({ error_msg: timeoutMs.message });
  return null;
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
