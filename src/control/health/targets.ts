/**
 * What is probed for an upstream: one target per address, port and host, whatever the number of nodes that
 * share it. The address, port and host name it in shared memory, too, where workers find it by the same rule.
 */

import { isIP } from "node:net";
import { type HealthChecks, probedPlace } from "../../model/health-checks.ts";
import type { PublishedUpstream } from "../../model/published.ts";
import { defaultPortOf } from "../../model/schemes.ts";

export interface Target {
  /** Where connections go. */
  address: string;
  port: number;
  /** Host by which the target is known: of the checks, else the node's as it was configured. */
  host: string;
  /** `Host` of requests, and the name in the TLS handshake when it is none of an address. */
  hostHeader: string;
  /** For the Control API: the host of the checks, else the address. */
  hostname: string;
}

/** By "address|port|host". Names without an address yet have no target. */
export function targetsOf(
  upstream: PublishedUpstream,
  checks: HealthChecks,
  addressesOf: (host: string) => readonly string[],
): Map<string, Target> {
  const targets = new Map<string, Target>();
  const rewritten = upstream.pass_host === "rewrite" ? upstream.upstream_host : undefined;
  for (const node of upstream.nodes) {
    const { host, port } = probedPlace(checks, { host: node.host, port: portOf(upstream, node.port) });
    for (const address of isIP(node.host) === 0 ? addressesOf(node.host) : [node.host]) {
      targets.set(`${address}|${port}|${host}`, {
        address,
        port,
        host,
        hostHeader: checks.active.host ?? rewritten ?? node.host,
        hostname: checks.active.host ?? address,
      });
    }
  }
  return targets;
}

/** 0 stands for the scheme's own. */
export function portOf({ scheme }: PublishedUpstream, port: number): number {
  return port || (defaultPortOf(scheme) ?? 80);
}
