/** The node that a request wants to be taken out, as both APIs read it; a refusal is a status and a message. */

import type { Drains } from "../control/health/drains.ts";
import { lists, type UpstreamOf } from "../control/upstreams-in-service.ts";
import type { PublishedUpstream } from "../model/published.ts";

const DEFAULT_TIMEOUT_S = 30;
const MAX_TIMEOUT_S = 3600;

export interface Place {
  /** Of the upstream. */
  id: string;
  host: string;
  port: number;
  upstream: PublishedUpstream;
}

export interface Refusal {
  status: number;
  message: string;
}

export function readPlace(upstreamOf: UpstreamOf, id: string, node: string): Place | Refusal {
  const split = splitNode(node);
  if (split === null) return { status: 400, message: `node: given "${node}", expected host:port` };
  const upstream = upstreamOf(id);
  if (upstream === null) return { status: 404, message: `upstreams[${id}] not found` };
  if (!lists(upstream, split)) return { status: 404, message: `upstreams[${id}] has no node ${node}` };
  return { id, ...split, upstream };
}

export function isRefusal(value: object): value is Refusal {
  return "message" in value;
}

/** Null: another node serves still. */
export function refusalOfLast({ id, host, port, upstream }: Place, drains: Drains): Refusal | null {
  const isLast = !upstream.nodes.some((node) => {
    if (node.weight === 0 || (node.host === host && node.port === port)) return false;
    return !drains.has(id, node.host, node.port);
  });
  if (!isLast) return null;
  const node = `${host.includes(":") ? `[${host}]` : host}:${port}`;
  const message = `${node} is the last node of upstream ${id} that serves: ?force=true drains it, too`;
  return { status: 409, message };
}

/** Milliseconds; 0: it is not waited. */
export function readTimeout(wait: string | undefined, timeout = String(DEFAULT_TIMEOUT_S)): number | Refusal {
  if (wait === undefined) return 0;
  const seconds = Number(timeout);
  if (wait !== "drained") return { status: 400, message: `wait: given "${wait}", expected drained` };
  if (seconds > 0 && seconds <= MAX_TIMEOUT_S) return seconds * 1000;
  const expected = `expected seconds above 0 and up to ${MAX_TIMEOUT_S}`;
  return { status: 400, message: `timeout: given "${timeout}", ${expected}` };
}

/** "a.test:80", "10.0.0.1:80", "[fd00::1]:80". */
export function splitNode(node: string): { host: string; port: number } | null {
  const [, host, port] = /^(.+):(\d{1,5})$/.exec(node) ?? [];
  if (host === undefined) return null;
  const bare = host.startsWith("[") && host.endsWith("]") ? host.slice(1, -1) : host;
  return { host: bare.toLowerCase(), port: Number(port) };
}
