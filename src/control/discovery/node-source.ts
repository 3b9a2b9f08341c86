/**
 * What a discovery is to the rest of control: it is told which services are in use and tells their nodes, each time
 * that it has asked. It keeps nothing that outlives a failure: what serves on, and for how long, is decided in one
 * place for all of them (`node-table.ts`).
 */

import type { PublishedUpstream } from "../../model/published.ts";

/** A service that some upstream names. */
export interface Need {
  /** Unique over all discoveries: "consul:web", "nacos:public/DEFAULT_GROUP/web". */
  key: string;
  type: string;
  /** As the upstream has it. */
  service: string;
  namespaceId: string;
  groupName: string;
  /** Nacos: the port is the one that instances name for gRPC. */
  isGrpc: boolean;
}

export interface DiscoveredNode {
  /** Address or name; IPv6 with or without brackets. */
  host: string;
  /** 0: that of the upstream's scheme. */
  port: number;
  weight: number;
  /** Absent: 0. The greatest is used first. */
  priority?: number;
  metadata?: Record<string, unknown>;
}

/** Where a source tells what it found. Nothing of it throws. */
export interface Findings {
  /** What is listed now, nothing included. */
  answer(key: string, nodes: readonly DiscoveredNode[]): void;
  /** The source was reached, and nothing has changed since its last answers. */
  confirm(type: string): void;
  /** Nothing is known; `key`: of one service only. */
  fail(type: string, reason: string, key?: string): void;
  /** One of several servers has begun to fail; what the others say counts. */
  failPartly(type: string, reason: string): void;
}

export interface NodeSource {
  readonly type: string;
  /** Exactly these from now on; one that is in use still is the same object. */
  watch(needs: readonly Need[]): void;
  /** Asks anew, now; ends when what was found (or that nothing could be) is told. */
  refresh(): Promise<void>;
  close(): void;
}

const NACOS_NAMESPACE = "public";
const NACOS_GROUP = "DEFAULT_GROUP";

/** Null: the upstream lists its nodes itself. */
export function needOf(upstream: PublishedUpstream): Need | null {
  const { discovery_type: type, service_name: service, discovery_args: args } = upstream;
  if (type === undefined || service === undefined) return null;
  const isNacos = type === "nacos";
  const namespaceId = isNacos ? (args?.namespace_id ?? NACOS_NAMESPACE) : "";
  const groupName = isNacos ? (args?.group_name ?? NACOS_GROUP) : "";
  const isGrpc = isNacos && (upstream.scheme === "grpc" || upstream.scheme === "grpcs");
  const place = isNacos ? `${namespaceId}/${groupName}/` : "";
  const key = `${type}:${place}${service}${isGrpc ? " (gRPC)" : ""}`;
  return { key, type, service, namespaceId, groupName, isGrpc };
}

/** The service with what tells it from others of its type: "web", "public/DEFAULT_GROUP/web". */
export function labelOf({ key, type }: Need): string {
  return key.slice(type.length + 1);
}
