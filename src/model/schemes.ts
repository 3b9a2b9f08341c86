/** What the scheme of an upstream says about its nodes. */

import type { PublishedUpstream } from "./published.ts";

type Scheme = PublishedUpstream["scheme"];

const DEFAULT_PORTS: Readonly<Partial<Record<Scheme, number>>> = {
  http: 80,
  https: 443,
  grpc: 80,
  grpcs: 443,
  h2: 443,
  h2c: 80,
};

/** Of nodes that are written without one; undefined: the scheme has none. */
export function defaultPortOf(scheme: string): number | undefined {
  return DEFAULT_PORTS[scheme as Scheme];
}

/** Requests go over HTTP/2. */
export function speaksHttp2(scheme: Scheme): boolean {
  return scheme === "grpc" || scheme === "grpcs" || scheme === "h2" || scheme === "h2c";
}

/** Requests are calls of gRPC. */
export function isGrpc(scheme: Scheme): boolean {
  return scheme === "grpc" || scheme === "grpcs";
}

export function isSecure(scheme: Scheme): boolean {
  return scheme === "https" || scheme === "grpcs" || scheme === "h2" || scheme === "tls";
}
