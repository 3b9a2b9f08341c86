/**
 * Which sockets a configuration needs, and which thread serves each.
 *
 * The data path has one `reusePort` socket per worker slot and listener: the kernel spreads connections over
 * them, and a slot's queue waits for the slot's next worker. Where the system cannot balance that way (macOS), the
 * workers of a group share one socket. What control serves is bound once.
 */

import type { ListenerConfig, StaticConfig } from "../config/static-config.ts";
import { CONTROL_SLOT, type SocketPlan } from "./protocol.ts";

/** Group of each worker slot, by slot: slots are numbered over all groups, in the order of the groups. */
export function groupsBySlot(config: StaticConfig): string[] {
  return config.groups.flatMap((group) => new Array<string>(group.workers).fill(group.name));
}

export function isDataListener(listener: ListenerConfig): boolean {
  return listener.purpose === "http" || listener.purpose === "https" || listener.purpose === "stream-tcp";
}

/** Of the node and all its tenants. */
export function planSockets(config: StaticConfig, canBalance: boolean): SocketPlan[] {
  const own = socketsOf(config, canBalance);
  const ofTenants = config.tenants.flatMap((each) => {
    const tenant = each.tenant!;
    const plans = socketsOf(each, canBalance);
    for (const plan of plans) {
      plan.tenant = tenant;
      // The guard of a port that changes hands in an upgrade is held already.
      if (!isGuard(plan)) plan.key = `tenant ${tenant} ${plan.key}`;
    }
    return plans;
  });
  return [...own, ...ofTenants];
}

function socketsOf(config: StaticConfig, canBalance: boolean): SocketPlan[] {
  const groups = groupsBySlot(config);
  return config.listeners.flatMap((listener) => {
    // One worker opens it itself: a socket of datagrams has no queue of connections to outlive anybody.
    if (listener.purpose === "stream-udp") return [];
    if (!isDataListener(listener)) return [socketFor(listener, [CONTROL_SLOT])];
    const slots = groups.flatMap((group, slot) => (group === listener.group ? [slot] : []));
    if (!canBalance) return [socketFor(listener, slots)];
    const sockets = slots.map((slot) => socketFor(listener, [slot]));
    // Two nodes that start at the same moment find the port free both: the guard lets only one of them go on.
    return canGuard && listener.port !== 0 ? [guardFor(listener), ...sockets] : sockets;
  });
}

/** Abstract socket names belong to the network namespace, as ports do, and end with their last holder. */
const canGuard = process.platform === "linux";

/** No thread serves it: a name that one launcher alone can hold stands for the port that many could. */
export function isGuard(socket: SocketPlan): boolean {
  return socket.slots.length === 0;
}

export function guardName({ address, port }: SocketPlan): string {
  return `\0cardea ${address} ${port}`;
}

function guardFor(listener: ListenerConfig): SocketPlan {
  return { ...socketFor(listener, []), key: `guard ${listener.address} ${listener.port}` };
}

function socketFor(listener: ListenerConfig, slots: number[]): SocketPlan {
  const { purpose, address, port, proxyProtocol, stream, group } = listener;
  // What a thread does with a connection is its own affair; only these make another socket necessary.
  const key = `${isDataListener(listener) ? "data" : purpose} ${address} ${port} ${slots.join(",")}`;
  return {
    key,
    purpose,
    address,
    port,
    proxyProtocol,
    ...(stream !== undefined && { stream }),
    group,
    slots,
  };
}
