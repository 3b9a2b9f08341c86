/**
 * Two sockets joined after a 101: bytes pass both ways with back-pressure, a half-close is passed on, silence
 * in both directions ends it. What it carries does not matter to it, but for WebSockets it knows where frames end: so it can
 * say goodbye to both sides (RFC 6455 7: a close frame with status 1001) where nothing is torn apart by it.
 *
 * Promises: `onClose` is called once, when both are closed; a goodbye has `GOODBYE_MS`, then both are cut off.
 */

import type { Socket } from "node:net";
import { type Deadlined, type Deadlines, NEVER } from "../deadlines.ts";
import { breakOff, cutOff } from "../listen/socket-ends.ts";
import { closeFrame, FrameWalker } from "./websocket-frames.ts";

export interface TunnelEnd {
  socket: Socket;
  /** What was read beyond the head, still to be passed on. */
  rest: Buffer;
}

export interface TunnelSettings {
  idleTimeoutMs: number;
  isWebSocket: boolean;
  deadlines: Deadlines;
  /** Both sides are closed. `isIdle`: for their silence. */
  onClose(isIdle: boolean): void;
}

/** For the frames that run, the close frames, and the answers to them. */
const GOODBYE_MS = 5000;

/** One of the two ways through a tunnel. */
interface Way {
  readonly from: Socket;
  readonly to: Socket;
  /** Null: no WebSocket. */
  readonly frames: FrameWalker | null;
  readonly toServer: boolean;
  /** Goodbye was said to `to`, which gets nothing more. */
  isOver: boolean;
}

export class Tunnel implements Deadlined {
  deadline = NEVER;
  readonly #settings: TunnelSettings;
  readonly #toClient: Way;
  readonly #toServer: Way;
  #open = 2;
  #isBroken = false;
  #isIdle = false;
  #isLeaving = false;
  /** When goodbye is said; `NEVER`: nobody asked for it. */
  #goodbyeAt = NEVER;

  constructor(client: TunnelEnd, upstream: TunnelEnd, settings: TunnelSettings) {
    this.#settings = settings;
    this.#toServer = wayOf(client.socket, upstream.socket, settings.isWebSocket, true);
    this.#toClient = wayOf(upstream.socket, client.socket, settings.isWebSocket, false);
    settings.deadlines.add(this);
    this.#touch();
    this.#join(this.#toServer, client.rest);
    this.#join(this.#toClient, upstream.rest);
  }

  /** Ends it at once. */
  cut(): void {
    cutOff(this.#toServer.from);
    cutOff(this.#toClient.from);
  }

  /** Ends it as its protocol does, if that is known; at once else. */
  leave(): void {
    if (this.#isLeaving) return;
    if (!this.#settings.isWebSocket) return this.cut();
    this.#isLeaving = true;
    this.deadline = this.#settings.deadlines.now() + GOODBYE_MS;
    this.#sayGoodbye(this.#toClient);
    this.#sayGoodbye(this.#toServer);
  }

  /** The same, later; the earliest of what was asked for counts. */
  leaveAfter(delayMs: number): void {
    this.#goodbyeAt = Math.min(this.#goodbyeAt, this.#settings.deadlines.now() + delayMs);
    if (!this.#isLeaving) this.deadline = Math.min(this.deadline, this.#goodbyeAt);
  }

  onDeadline(nowMs: number): void {
    if (nowMs >= this.#goodbyeAt && !this.#isLeaving) return this.leave();
    this.#isIdle = !this.#isLeaving;
    this.cut();
  }

  #join(way: Way, rest: Buffer): void {
    const { from, to } = way;
    if (rest.length > 0) this.#pass(way, rest);
    from.on("data", (chunk: Buffer) => this.#pass(way, chunk));
    to.on("drain", () => from.resume());
    from.on("end", () => to.end());
    // It ended before anyone listened: a client may, right behind its request.
    if (from.readableEnded) to.end();
    from.on("error", () => {
      this.#isBroken = true;
    });
    from.on("close", () => {
      if (this.#isBroken) breakOff(to);
      else to.destroySoon();
      if (--this.#open === 0) this.#closed();
    });
    from.resume();
  }

  #pass(way: Way, chunk: Buffer): void {
    if (way.isOver) return;
    const { frames, from, to } = way;
    if (this.#isLeaving) {
      const end = frames!.walk(chunk, true);
      if (end > 0 && !to.write(chunk.subarray(0, end))) from.pause();
      this.#sayGoodbye(way);
      return;
    }
    this.#touch();
    frames?.walk(chunk, false);
    if (!to.write(chunk)) from.pause();
  }

  /** Where a frame runs it is said behind it. What the other side sends from then on is read, or its end would not be. */
  #sayGoodbye(way: Way): void {
    if (way.isOver || !way.frames!.isBetweenFrames) return;
    way.isOver = true;
    if (way.to.writable) way.to.write(closeFrame(way.toServer));
    way.from.resume();
    if (!this.#toClient.isOver || !this.#toServer.isOver) return;
    // Not before: who hears the end of one direction may leave the frame of the other unfinished.
    way.from.end();
    way.to.end();
  }

  /** Bytes in one direction are life of both. */
  #touch(): void {
    const { deadlines, idleTimeoutMs } = this.#settings;
    this.deadline = Math.min(deadlines.now() + idleTimeoutMs, this.#goodbyeAt);
  }

  #closed(): void {
    this.deadline = NEVER;
    this.#settings.deadlines.delete(this);
    this.#settings.onClose(this.#isIdle);
  }
}

function wayOf(from: Socket, to: Socket, isWebSocket: boolean, toServer: boolean): Way {
  return { from, to, frames: isWebSocket ? new FrameWalker() : null, toServer, isOver: false };
}
