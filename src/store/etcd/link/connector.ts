/**
 * The link as a control thread sees it: connections that are handles on the one that the link holds. It answers all
 * that is asked, if need be with a fault: also where the link dies, and while there is none.
 */

import type { MessagePort } from "node:worker_threads";
import type { EtcdConnection, EtcdConnector, EtcdStream, StreamListener } from "../connection.ts";
import { EtcdFault } from "../faults.ts";
import type { FromLink, SentFault, ToLink } from "./messages.ts";

export class LinkConnector implements EtcdConnector {
  readonly count: number;
  #link: Link | null = null;
  readonly #attached = Promise.withResolvers<void>();

  /** `count`: of the members. */
  constructor(count: number) {
    this.count = count;
  }

  /** Whenever the link was started (again). */
  attach(port: MessagePort): void {
    this.#link?.end();
    this.#link = new Link(port);
    this.#attached.resolve();
  }

  /** Ends when there is a link, or that late. */
  async attached(withinMs: number): Promise<void> {
    const late = Promise.withResolvers<void>();
    const timer = setTimeout(late.resolve, withinMs);
    await Promise.race([this.#attached.promise, late.promise]);
    clearTimeout(timer);
  }

  connect(): EtcdConnection {
    if (this.#link === null || this.#link.isOver) throw noLink();
    return new LinkConnection(this.#link);
  }

  /** The link knows it already, or knows better: others were answered meanwhile. */
  failed(): void {}
}

interface Waiting {
  resolve(bytes: Uint8Array): void;
  reject(fault: EtcdFault): void;
}

/** One life of the link. */
class Link {
  isOver = false;
  readonly calls = new Map<number, Waiting>();
  readonly streams = new Map<number, StreamListener>();
  readonly connections = new Map<number, LinkConnection>();
  readonly #port: MessagePort;
  #last = 0;

  constructor(port: MessagePort) {
    this.#port = port;
    port.on("message", (message: FromLink) => this.#take(message));
    port.once("close", () => this.end());
    port.unref();
  }

  next(): number {
    return ++this.#last;
  }

  say(message: ToLink): void {
    if (!this.isOver) this.#port.postMessage(message);
  }

  end(): void {
    if (this.isOver) return;
    this.isOver = true;
    this.#port.close();
    for (const { reject } of this.calls.values()) reject(linkEnded());
    this.calls.clear();
    const streams = [...this.streams.values()];
    this.streams.clear();
    for (const { onEnd } of streams) onEnd(linkEnded());
  }

  #take(message: FromLink): void {
    switch (message.type) {
      case "connected": {
        const connection = this.connections.get(message.connection);
        if (connection !== undefined) connection.url = message.url;
        break;
      }
      case "answer":
        this.#waiting(message.call)?.resolve(message.bytes);
        break;
      case "fault":
        this.#waiting(message.call)?.reject(faultFrom(message.fault));
        break;
      case "bytes": {
        const { stream, bytes } = message;
        this.streams.get(stream)?.onBytes(bytes);
        this.say({ type: "took", stream, count: bytes.length });
        break;
      }
      case "ended": {
        const listener = this.streams.get(message.stream);
        this.streams.delete(message.stream);
        listener?.onEnd(faultFrom(message.fault));
        break;
      }
    }
  }

  #waiting(call: number): Waiting | undefined {
    const waiting = this.calls.get(call);
    this.calls.delete(call);
    return waiting;
  }
}

class LinkConnection implements EtcdConnection {
  url = "";
  isClosed = false;
  readonly #link: Link;
  readonly #number: number;
  readonly #streams = new Set<number>();

  constructor(link: Link) {
    this.#link = link;
    this.#number = link.next();
    link.connections.set(this.#number, this);
    link.say({ type: "connect", connection: this.#number });
  }

  call(path: string, bytes: Uint8Array, token: string | null, deadlineMs: number): Promise<Uint8Array> {
    const link = this.#link;
    const fault = this.#fault();
    if (fault !== null) return Promise.reject(fault);
    const { promise, resolve, reject } = Promise.withResolvers<Uint8Array>();
    const call = link.next();
    link.calls.set(call, { resolve, reject });
    link.say({ type: "call", connection: this.#number, call, path, bytes, token, deadlineMs });
    return promise;
  }

  open(path: string, token: string | null, listener: StreamListener): EtcdStream {
    const link = this.#link;
    const fault = this.#fault();
    if (fault !== null) throw fault;
    const stream = link.next();
    link.streams.set(stream, listener);
    this.#streams.add(stream);
    link.say({ type: "open", connection: this.#number, stream, path, token });
    return {
      send: (bytes) => link.say({ type: "send", stream, bytes }),
      cancel: () => this.#cancel(stream),
    };
  }

  close(): void {
    if (this.isClosed) return;
    this.isClosed = true;
    for (const stream of this.#streams) {
      const listener = this.#link.streams.get(stream);
      this.#cancel(stream);
      listener?.onEnd(new EtcdFault("down", "the connection was given up"));
    }
    this.#link.connections.delete(this.#number);
    this.#link.say({ type: "leave", connection: this.#number });
  }

  #cancel(stream: number): void {
    this.#streams.delete(stream);
    if (this.#link.streams.delete(stream)) this.#link.say({ type: "cancel", stream });
  }

  #fault(): EtcdFault | null {
    if (this.isClosed) return new EtcdFault("down", "the connection was given up", true);
    return this.#link.isOver ? noLink() : null;
  }
}

function faultFrom({ kind, message, isUnsent }: SentFault): EtcdFault {
  return new EtcdFault(kind, message, isUnsent);
}

function noLink(): EtcdFault {
  return new EtcdFault("down", "the thread that holds the connection is being started", true);
}

function linkEnded(): EtcdFault {
  return new EtcdFault("down", "the thread that holds the connection has ended");
}
