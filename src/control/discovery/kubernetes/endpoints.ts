/**
 * Nodes by port in the objects of Kubernetes that list them: Endpoints, and EndpointSlices of which a service may have
 * several.
 *
 * Source: https://kubernetes.io/docs/reference/kubernetes-api/service-resources/
 */

import type { DiscoveredNode } from "../node-source.ts";
import { isRecord } from "../registry-client.ts";

/** By name of the port, or its number where it has none. */
export type NodesByPort = Map<string, DiscoveredNode[]>;

/** One object: what of which service it lists. */
export interface ListedService {
  namespace: string;
  service: string;
  /** Of the object; those of one service are put together. */
  object: string;
  nodes: NodesByPort;
}

const SERVICE_LABEL = "kubernetes.io/service-name";

/** Null: it cannot be read. */
export function listedService(value: unknown, isSlice: boolean, weight: number): ListedService | null {
  const metadata = isRecord(value) ? value["metadata"] : undefined;
  if (!isRecord(value) || !isRecord(metadata)) return null;
  const { name, namespace, labels } = metadata;
  if (typeof name !== "string" || typeof namespace !== "string") return null;
  if (!isSlice) return { namespace, service: name, object: name, nodes: nodesOfEndpoints(value, weight) };
  const service = isRecord(labels) ? labels[SERVICE_LABEL] : undefined;
  if (typeof service !== "string") return null;
  return { namespace, service, object: name, nodes: nodesOfSlice(value, weight) };
}

function nodesOfEndpoints(value: Record<string, unknown>, weight: number): NodesByPort {
  const nodes: NodesByPort = new Map();
  for (const subset of listOf(value["subsets"])) {
    // `notReadyAddresses` are those that must get nothing.
    const addresses = listOf(subset["addresses"]).map((address) => address["ip"]);
    addNodes(nodes, listOf(subset["ports"]), addresses, weight);
  }
  return nodes;
}

function nodesOfSlice(value: Record<string, unknown>, weight: number): NodesByPort {
  const nodes: NodesByPort = new Map();
  for (const { addresses, conditions, zone } of listOf(value["endpoints"])) {
    // Nothing said of readiness means ready.
    if (!Array.isArray(addresses) || (isRecord(conditions) && conditions["ready"] === false)) continue;
    addNodes(nodes, listOf(value["ports"]), addresses, weight, zone);
  }
  return nodes;
}

/** `zone`: where all of them are; only slices say it. */
function addNodes(
  nodes: NodesByPort,
  ports: readonly Record<string, unknown>[],
  addresses: readonly unknown[],
  weight: number,
  zone?: unknown,
): void {
  const rest = typeof zone === "string" ? { weight, metadata: { zone } } : { weight };
  for (const { name, targetPort, port } of ports) {
    if (typeof port !== "number") continue;
    const key = typeof name === "string" && name !== "" ? name : (portText(targetPort) ?? String(port));
    const list = nodes.get(key) ?? [];
    nodes.set(key, list);
    for (const host of addresses) if (typeof host === "string") list.push({ host, port, ...rest });
  }
}

/** Of a port that is a number or a name. */
function portText(port: unknown): string | null {
  return typeof port === "string" || typeof port === "number" ? String(port) : null;
}

function listOf(value: unknown): Record<string, unknown>[] {
  return Array.isArray(value) ? value.filter(isRecord) : [];
}
