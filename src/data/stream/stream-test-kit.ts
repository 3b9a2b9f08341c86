/** Stream listeners on a real data path for tests: real sockets on loopback on both sides. */

import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import type { TestContext } from "node:test";
import type { StreamListenerConfig } from "../../config/static-config.ts";
import { AddressSet } from "../../lib/address.ts";
import { ACTIVE } from "../../shared/gauge-lanes.ts";
import { Deadlines } from "../deadlines.ts";
import { type Wired, wired, type WiredOptions } from "../wire-test-kit.ts";
import type { StreamConnectionExchange } from "./stream-exchange.ts";
import { StreamListeners } from "./stream-listeners.ts";
import { freePort } from "../../../test/ports/free-port.ts";

export interface StreamKitOptions extends Omit<WiredOptions, "routes"> {
  listener?: Partial<StreamListenerConfig> & { proxyProtocol?: boolean };
  realIpFrom?: string[];
  deadlines?: Deadlines;
}

export interface StreamKit {
  port: number;
  wire: Wired;
  listeners: StreamListeners;
  /** Connections that ended, in order. */
  ended: StreamConnectionExchange[];
  /** One more route; ids count from 1. */
  route(route: Record<string, unknown>): void;
  /** A client whose connection stands; it may be half-closed. */
  client(): Promise<Socket>;
  /** Client connections that are open. */
  active(): number;
}

export async function streamKit(t: TestContext, options: StreamKitOptions = {}): Promise<StreamKit> {
  const wire = await wired(t, { ...options, routes: [] });
  const deadlines = options.deadlines ?? new Deadlines();
  const ended: StreamConnectionExchange[] = [];
  const accessLog = {
    write: (x: { variable(name: string): string | undefined }) => {
      ended.push(x as StreamConnectionExchange);
    },
  };
  const { realIpFrom } = options;
  const listeners = new StreamListeners({
    udp: [],
    http: wire.config.http,
    maxUdpSessions: wire.config.stream.maxUdpSessions,
    services: {
      routes: wire.configuration.streams,
      blocks: () => wire.configuration.blocks,
      deadlines,
      log: wire.log,
      memory: wire.shared.dictionary,
      accessLog,
    },
    realIpFrom: realIpFrom === undefined ? null : new AddressSet(realIpFrom),
    tls: { ...wire.tls, alpn: null },
    count: wire.listeners.count,
    gauges: wire.shared.gauges,
    metrics: wire.shared.metrics,
    log: wire.log,
  });
  wire.configuration.onBlock = () => listeners.closeBlocked();
  const { proxyProtocol = false, tls = false, proxyProtocolToUpstream = false } = options.listener ?? {};
  const target = { host: "127.0.0.1", port: 0 };
  const port = await listeners.add(target, "127.0.0.1:9100", proxyProtocol, { tls, proxyProtocolToUpstream });
  const clients: Socket[] = [];
  t.after(() => {
    for (const socket of clients) socket.destroy();
    listeners.close();
    deadlines.close();
  });
  let routes = 0;
  return {
    port,
    wire,
    listeners,
    ended,
    route: (route) => wire.put("stream_route", String(++routes), route),
    async client() {
      const socket = connect({ host: "127.0.0.1", port, allowHalfOpen: true });
      clients.push(socket);
      socket.on("error", () => undefined);
      await once(socket, "connect");
      return socket;
    },
    active: () => wire.shared.gauges.of(0, ACTIVE),
  };
}

/** A node that is there; `serve` gets each of its connections, which may be half-closed. */
export async function node(t: TestContext, serve: (socket: Socket) => void): Promise<string> {
  const sockets: Socket[] = [];
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.push(socket);
    socket.on("error", () => undefined);
    serve(socket);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** Sends back what comes, and its end. */
export function echo(socket: Socket): void {
  socket.pipe(socket);
}

/** An address where nobody listens. */
export async function deadNode(): Promise<string> {
  return `127.0.0.1:${await freePort()}`;
}

/** All that comes until the end, or until the connection is closed. */
export function everything(socket: Socket): Promise<Buffer> {
  const chunks: Buffer[] = [];
  const { promise, resolve } = Promise.withResolvers<Buffer>();
  const done = (): void => resolve(Buffer.concat(chunks));
  socket.on("data", (chunk: Buffer) => chunks.push(chunk));
  socket.on("end", done);
  socket.on("close", done);
  return promise;
}

/** What comes until it ends with `text`. */
export async function until(socket: Socket, text: string): Promise<string> {
  let received = "";
  while (!received.endsWith(text)) {
    const [chunk] = (await once(socket, "data")) as [Buffer];
    received += chunk.toString("latin1");
  }
  return received;
}

export function upstream(...nodes: string[]): Record<string, unknown> {
  return { type: "roundrobin", nodes: Object.fromEntries(nodes.map((each) => [each, 1])) };
}
