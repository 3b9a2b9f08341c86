/** A TCP proxy in front of a member that can swallow answers: what is asked is done, and nobody hears of it. */

import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";

export class LossyProxy {
  /** Whether answers get through. */
  isOpen = true;
  /** Connections that were made over all time. */
  connections = 0;
  readonly #target: URL;
  readonly #server = createServer((socket) => this.#join(socket));
  readonly #sockets = new Set<Socket>();

  private constructor(target: string) {
    this.#target = new URL(target);
  }

  static async start(t: { after(end: () => Promise<void>): void }, target: string): Promise<LossyProxy> {
    const proxy = new LossyProxy(target);
    proxy.#server.listen(0, "127.0.0.1");
    await once(proxy.#server, "listening");
    t.after(() => proxy.close());
    return proxy;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as { port: number }).port}`;
  }

  /** Ends every connection. */
  cut(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  async close(): Promise<void> {
    this.cut();
    const closed = once(this.#server, "close");
    this.#server.close();
    await closed;
  }

  #join(client: Socket): void {
    this.connections++;
    const server = connect(Number(this.#target.port), this.#target.hostname);
    for (const [socket, other] of [
      [client, server],
      [server, client],
    ]) {
      this.#sockets.add(socket);
      socket.on("error", () => {});
      socket.on("close", () => {
        this.#sockets.delete(socket);
        other.destroy();
      });
    }
    client.on("data", (bytes) => server.write(bytes));
    server.on("data", (bytes) => {
      if (this.isOpen) client.write(bytes);
    });
  }
}
