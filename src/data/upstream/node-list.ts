/**
 * From the nodes of a configuration to the nodes that are balanced over: names become all their addresses,
 * each with the full weight, and objects of nodes that stay are kept with their counts.
 */

import { isIP } from "node:net";
import type { PublishedNode, PublishedUpstream } from "../../model/published.ts";
import { defaultPortOf } from "../../model/schemes.ts";
import type { AddressBook } from "./address-book.ts";
import { UpstreamNode } from "./node.ts";

/** Names among the hosts of `nodes`. */
export function namesOf(nodes: readonly PublishedNode[]): Set<string> {
  return new Set(nodes.map((node) => node.host).filter((host) => isIP(host) === 0));
}

export interface NodeList {
  nodes: UpstreamNode[];
  /** Every node by its key; those that left stay while attempts on them run, so that a return finds their counts. */
  known: Map<string, UpstreamNode>;
}

/** A node that is listed twice (or two of whose names are the same) counts once, with the last weight. */
export function expandNodes(
  config: PublishedUpstream,
  book: AddressBook,
  known: Map<string, UpstreamNode>,
): NodeList {
  const listed = new Map<string, UpstreamNode>();
  for (const { host, port: givenPort, weight, priority, metadata } of config.nodes) {
    const port = givenPort || (defaultPortOf(config.scheme) ?? 80);
    for (const address of isIP(host) === 0 ? (book.get(host) ?? []) : [host]) {
      const key = `${host}|${address}|${port}`;
      const node = known.get(key) ?? new UpstreamNode(host, address, port, weight, priority);
      node.weight = weight;
      node.priority = priority ?? 0;
      node.zone = zoneOf(metadata);
      node.hostHeader = hostHeader(config.scheme, host, port);
      node.poolIdentity = `${config.scheme}#${address}#${port}`;
      listed.set(key, node);
    }
  }
  const nodes = [...listed.values()];
  for (const [key, node] of known) if (node.active > 0 && !listed.has(key)) listed.set(key, node);
  return { nodes, known: listed };
}

/** Registries have metadata of their own making. */
function zoneOf(metadata: PublishedNode["metadata"]): string {
  const zone = metadata?.["zone"];
  return typeof zone === "string" ? zone : "";
}

/** The host as configured, with the port unless it is the scheme's own. */
function hostHeader(scheme: PublishedUpstream["scheme"], host: string, port: number): string {
  const name = host.includes(":") ? `[${host}]` : host;
  return port === defaultPortOf(scheme) ? name : `${name}:${port}`;
}
