/** This gateway among those that share its store: what it tells them, and what the Admin API needs to take nodes out on all. */

import type { Log } from "../../lib/log.ts";
import type { NodeReports } from "../../store/contract.ts";
import type { Control } from "../control.ts";
import type { Discoveries } from "../discovery/discoveries.ts";
import type { Drains } from "../health/drains.ts";
import { lists, upstreamsOf } from "../upstreams-in-service.ts";
import { ForgottenDrains } from "./forgotten-drains.ts";
import { gatewayId } from "./gateway-id.ts";
import { GatewayReporter } from "./reporter.ts";

/** What takes nodes out on this gateway and hears of the others. */
export interface TakeDown {
  drains: Drains;
  /** Absent: no nodes are discovered. */
  discoveries?: Discoveries;
  /** Null: the store is that of this gateway alone. */
  reports: NodeReports | null;
  /** Of this gateway among them. */
  gatewayId: string;
}

export interface Gateways {
  takeDown: TakeDown;
  /** The whole configuration was taken. `mayWrite`: this gateway writes to the store. */
  start(mayWrite: boolean): void;
  /** Never rejects. */
  close(): Promise<void>;
}

export function openGateways(parts: {
  control: Control;
  drains: Drains;
  discoveries: Discoveries;
  dataFolder: string;
  log: Log;
}): Gateways {
  const { control, drains, discoveries, log } = parts;
  const { store, state, publisher } = control;
  const reports = store.reports ?? null;
  const id = gatewayId(parts.dataFolder);
  const revisions = () => ({
    publishedRevision: publisher.revision,
    appliedRevision: control.appliedRevision,
  });
  const reporter = reports === null ? null : new GatewayReporter({ id, reports, drains, revisions, log });
  const upstreamOf = upstreamsOf(state, discoveries);
  const isListed = (upstream: string, host: string, port: number): boolean => {
    const found = upstreamOf(upstream);
    return found !== null && lists(found, { host, port });
  };
  const forgotten = new ForgottenDrains({ store, state, drains, isListed, log });
  return {
    takeDown: { drains, discoveries, reports, gatewayId: id },
    start(mayWrite) {
      reporter?.start();
      if (mayWrite) forgotten.start();
    },
    async close() {
      forgotten.close();
      await reporter?.close();
    },
  };
}
