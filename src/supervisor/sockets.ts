/**
 * The sockets that a thread serves: fresh duplicates from the launcher, by slot, with their clean-up.
 *
 * A duplicate arrives as a handle of this thread, but its descriptor is given to another (`listen({ fd })`), which
 * closes it when it stops listening or dies. The handle here must then never be closed: its number may be somebody
 * else's by now. A thread that died before it listened leaves its descriptors open; the inode number tells which.
 */

import { fstatSync } from "node:fs";
import type { ListenerHandle } from "../shared/messages.ts";
import type { SocketPlan } from "./protocol.ts";

/** What Node hands over for a socket that came without `net.Server` around it. */
export interface RawHandle {
  readonly fd: number;
  close(): void;
}

/** Gives a fresh duplicate of the socket with this key; null when there is none to be had. */
export type TakeSocket = (key: string) => Promise<RawHandle | null>;

export class Sockets {
  readonly #take: TakeSocket;
  readonly #plans: readonly SocketPlan[];

  constructor(take: TakeSocket, plans: readonly SocketPlan[]) {
    this.#take = take;
    this.#plans = plans;
  }

  /** Rejects when one cannot be had; those already taken are closed then. */
  async takeFor(slot: number): Promise<TakenSockets> {
    const taken = new TakenSockets();
    try {
      for (const plan of this.#plans) {
        if (!plan.slots.includes(slot)) continue;
        const handle = await this.#take(plan.key);
        if (handle === null)
          throw new Error(`the launcher gave no socket for ${plan.address} port ${plan.port}`);
        taken.add(plan, handle);
      }
    } catch (error) {
      taken.closeLeftOvers();
      throw error;
    }
    return taken;
  }
}

export class TakenSockets {
  readonly listeners: ListenerHandle[] = [];
  readonly #handles: { handle: RawHandle; fd: number; inode: number; isShared: boolean }[] = [];

  add(plan: SocketPlan, handle: RawHandle): void {
    const { purpose, address, port, proxyProtocol, stream } = plan;
    const { fd } = handle;
    this.listeners.push({
      purpose,
      address,
      port,
      fd,
      proxyProtocol,
      ...(stream !== undefined && { stream }),
    });
    this.#handles.push({ handle, fd, inode: fstatSync(fd).ino, isShared: plan.slots.length > 1 });
  }

  /** After the thread's end: closes what it had not taken over. */
  closeLeftOvers(): void {
    for (const { handle, fd, inode, isShared } of this.#handles) {
      // A shared socket has the same inode in every slot: the number may be another thread's duplicate.
      if (!isShared && inodeOf(fd) === inode) handle.close();
    }
    this.#handles.length = 0;
  }
}

function inodeOf(fd: number): number | null {
  try {
    return fstatSync(fd).ino;
  } catch {
    // EBADF: the thread closed it.
    return null;
  }
}
