/** What the health checker knows, for the Control API and the metrics page. */

import type { FactFamily } from "../fact-families.ts";
import {
  countOf,
  HTTP_FAILURE,
  isUp,
  STATE_NAMES,
  stateOf,
  SUCCESS,
  TCP_FAILURE,
  TIMEOUT,
} from "../../shared/health-state.ts";
import type { HealthRegistry } from "../../shared/health-registry.ts";
import { HEALTH_SLOTS, type HealthTable } from "../../shared/health-table.ts";
import type { CheckedTarget, HealthChecker } from "./checker.ts";
import { type NodeSample, nodeSamples } from "./node-samples.ts";

export interface NodeHealth {
  ip: string;
  port: number;
  hostname?: string;
  status: "healthy" | "mostly_healthy" | "mostly_unhealthy" | "unhealthy";
  counter: { success: number; http_failure: number; tcp_failure: number; timeout_failure: number };
}

/** The health checker, as the Control API needs it. */
export interface HealthReport {
  /** Before store keys in the names that are shown; "/apisix" by default. */
  prefix?: string;
  /** Of the upstream in the resource with this store key ("/routes/1"). */
  nodesOf(key: string): NodeHealth[];
}

/** `prefix`: before the store keys of resources, in what is shown. */
export function healthReport(checker: HealthChecker, table: HealthTable, prefix: string): HealthReport {
  return {
    prefix,
    nodesOf: (key) => Array.from(checker.targetsOf(key), (target) => nodeHealth(target, table)),
  };
}

/** `upstream_status`: 1 for nodes that get requests. */
export function upstreamStatus(checker: HealthChecker, table: HealthTable, prefix: string): FactFamily {
  const nodes: NodeSample[] = [];
  for (const key of checker.keys()) {
    for (const { slot, address, port } of checker.targetsOf(key))
      nodes.push({ name: prefix + key, address, port, value: isUp(table.word(slot)) ? 1 : 0 });
  }
  const help = "Health of the nodes of upstreams: 1 is healthy, 0 is not";
  return { name: "upstream_status", type: "gauge", help, samples: nodeSamples(nodes, Math.min) };
}

/** How full the table is: nodes beyond it are not checked. */
export function tableFullness(registry: HealthRegistry): FactFamily[] {
  const gauge = (name: string, help: string, value: number): FactFamily => ({
    name,
    type: "gauge",
    help,
    samples: [{ value }],
  });
  return [
    gauge("health_slots_used", "Places in the table of the health of nodes", registry.used),
    gauge("health_slots_capacity", "Places that there are", HEALTH_SLOTS),
  ];
}

function nodeHealth({ slot, address, port, hostname }: CheckedTarget, table: HealthTable): NodeHealth {
  const word = table.word(slot);
  return {
    ip: address,
    port,
    hostname,
    status: STATE_NAMES[stateOf(word)],
    counter: {
      success: countOf(word, SUCCESS),
      http_failure: countOf(word, HTTP_FAILURE),
      tcp_failure: countOf(word, TCP_FAILURE),
      timeout_failure: countOf(word, TIMEOUT),
    },
  };
}
