/**
 * The one connection of a node with tenants to its etcd: what their control threads ask goes over it, and what each
 * watches is a stream of its own on it, so that a tenant that reads slowly holds back itself alone.
 *
 * The connection is opened when somebody needs it and closed when nobody does. It is given up for all when a member
 * answers nobody: a call that fails where another's, begun later or answered meanwhile, does not, is its caller's trouble.
 */

import type { MessagePort } from "node:worker_threads";
import type { EtcdConnection, StreamListener } from "../connection.ts";
import type { PausableStream } from "../channel.ts";
import { EtcdFault, faultOf } from "../faults.ts";
import type { FromLink, SentFault, ToLink } from "./messages.ts";

/** Of one stream: beyond it the member waits until the control thread has read. */
const MOST_UNREAD_BYTES = 8 * 1024 * 1024;
/** Without a first answer: a stream that ends sooner, with its control thread perhaps, says nothing about the member. */
const SILENT_AFTER_MS = 3000;

export interface HubConnection extends EtcdConnection {
  open(path: string, token: string | null, listener: StreamListener): PausableStream;
}

export interface HubConnector {
  connect(): HubConnection;
  failed(connection: EtcdConnection): void;
}

/** What several hold; it is closed when the last lets go. */
interface Held {
  connection: HubConnection;
  holders: number;
  /** Of the last answer to any call, by the hub's clock. */
  answeredAt: number;
}

export class LinkHub {
  readonly #connector: HubConnector;
  readonly now: () => number;
  #held: Held | null = null;

  /** `now`: monotonic milliseconds. */
  constructor(connector: HubConnector, now: () => number = () => performance.now()) {
    this.#connector = connector;
    this.now = now;
  }

  serve(port: MessagePort): void {
    const client = new LinkClient(this, port);
    port.on("message", (message: ToLink) => client.take(message));
    port.once("close", () => client.end());
  }

  /** Throws `EtcdFault`. */
  hold(): Held {
    this.#held ??= { connection: this.#connector.connect(), holders: 0, answeredAt: 0 };
    this.#held.holders++;
    return this.#held;
  }

  release(held: Held): void {
    held.holders--;
    if (held.holders > 0) return;
    if (this.#held === held) this.#held = null;
    held.connection.close();
  }

  /** Something that began then has failed, as members fail. */
  doubt(held: Held, beganAt: number): void {
    if (this.#held !== held || held.answeredAt > beganAt) return;
    this.#held = null;
    held.connection.close();
    this.#connector.failed(held.connection);
  }
}

interface OpenedStream {
  stream: PausableStream;
  connection: number;
  held: Held;
  openedAt: number;
  hasBytes: boolean;
  unread: number;
  isPaused: boolean;
}

/** One control thread. */
class LinkClient {
  readonly #hub: LinkHub;
  readonly #port: MessagePort;
  /** By number; a fault: none could be begun. */
  readonly #connections = new Map<number, Held | EtcdFault>();
  readonly #streams = new Map<number, OpenedStream>();
  #isOver = false;

  constructor(hub: LinkHub, port: MessagePort) {
    this.#hub = hub;
    this.#port = port;
  }

  take(message: ToLink): void {
    switch (message.type) {
      case "connect":
        this.#connect(message.connection);
        break;
      case "call":
        void this.#call(message);
        break;
      case "open":
        this.#open(message);
        break;
      case "send":
        this.#streams.get(message.stream)?.stream.send(message.bytes);
        break;
      case "took":
        this.#took(message.stream, message.count);
        break;
      case "cancel":
        this.#cancel(message.stream);
        break;
      case "leave":
        this.#leave(message.connection);
        break;
    }
  }

  end(): void {
    this.#isOver = true;
    for (const connection of this.#connections.keys()) this.#leave(connection);
  }

  #connect(connection: number): void {
    try {
      const held = this.#hub.hold();
      this.#connections.set(connection, held);
      this.#say({ type: "connected", connection, url: held.connection.url });
    } catch (error) {
      this.#connections.set(connection, faultOf(error));
    }
  }

  async #call({
    connection,
    call,
    path,
    bytes,
    token,
    deadlineMs,
  }: Extract<ToLink, { type: "call" }>): Promise<void> {
    const held = this.#heldBy(connection);
    if (held instanceof EtcdFault) {
      this.#say({ type: "fault", call, fault: sent(held) });
      return;
    }
    const beganAt = this.#hub.now();
    try {
      const answer = await held.connection.call(path, bytes, token, deadlineMs);
      held.answeredAt = this.#hub.now();
      this.#give({ type: "answer", call, bytes: new Uint8Array(answer) });
    } catch (error) {
      const fault = faultOf(error);
      if (isOfMember(fault)) this.#hub.doubt(held, beganAt);
      else held.answeredAt = this.#hub.now();
      this.#say({ type: "fault", call, fault: sent(fault) });
    }
  }

  #open({ connection, stream, path, token }: Extract<ToLink, { type: "open" }>): void {
    const held = this.#heldBy(connection);
    try {
      if (held instanceof EtcdFault) throw held;
      const listener: StreamListener = {
        onBytes: (bytes) => this.#onBytes(stream, bytes),
        onEnd: (fault) => this.#onEnd(stream, fault),
      };
      this.#streams.set(stream, {
        stream: held.connection.open(path, token, listener),
        connection,
        held,
        openedAt: this.#hub.now(),
        hasBytes: false,
        unread: 0,
        isPaused: false,
      });
    } catch (error) {
      this.#say({ type: "ended", stream, fault: sent(faultOf(error)) });
    }
  }

  #onBytes(number: number, bytes: Uint8Array): void {
    const opened = this.#streams.get(number);
    if (opened === undefined) return;
    opened.hasBytes = true;
    opened.held.answeredAt = this.#hub.now();
    opened.unread += bytes.length;
    if (opened.unread > MOST_UNREAD_BYTES && !opened.isPaused) {
      opened.isPaused = true;
      opened.stream.pause();
    }
    this.#give({ type: "bytes", stream: number, bytes: new Uint8Array(bytes) });
  }

  #took(number: number, count: number): void {
    const opened = this.#streams.get(number);
    if (opened === undefined) return;
    opened.unread -= count;
    if (!opened.isPaused || opened.unread > MOST_UNREAD_BYTES / 2) return;
    opened.isPaused = false;
    opened.stream.resume();
  }

  #onEnd(number: number, fault: EtcdFault): void {
    const opened = this.#streams.get(number);
    if (opened === undefined) return;
    this.#streams.delete(number);
    // A stream that stood ends with its connection.
    if (isOfMember(fault)) this.#hub.doubt(opened.held, this.#hub.now());
    this.#say({ type: "ended", stream: number, fault: sent(fault) });
  }

  #cancel(number: number): void {
    const opened = this.#streams.get(number);
    if (opened === undefined) return;
    this.#streams.delete(number);
    opened.stream.cancel();
    if (!opened.hasBytes && this.#hub.now() - opened.openedAt >= SILENT_AFTER_MS)
      this.#hub.doubt(opened.held, opened.openedAt);
  }

  #leave(connection: number): void {
    const held = this.#connections.get(connection);
    this.#connections.delete(connection);
    for (const [number, opened] of this.#streams) {
      if (opened.connection === connection) this.#cancel(number);
    }
    if (held !== undefined && !(held instanceof EtcdFault)) this.#hub.release(held);
  }

  #heldBy(connection: number): Held | EtcdFault {
    return this.#connections.get(connection) ?? new EtcdFault("down", "the connection was given up", true);
  }

  /** The bytes are the message's own: what a connection gives may be a part of something larger. */
  #give(message: Extract<FromLink, { bytes: Uint8Array<ArrayBuffer> }>): void {
    if (!this.#isOver) this.#port.postMessage(message, [message.bytes.buffer]);
  }

  #say(message: FromLink): void {
    if (!this.#isOver) this.#port.postMessage(message);
  }
}

function isOfMember({ kind }: EtcdFault): boolean {
  return kind === "down" || kind === "later";
}

function sent({ kind, message, isUnsent }: EtcdFault): SentFault {
  return { kind, message, isUnsent };
}
