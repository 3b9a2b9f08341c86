/** A server for tests of registries that are polled: answers by path, and the ways in which it may fail. */

import { once } from "node:events";
import { createServer, type IncomingMessage, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { freePort } from "../../../test/ports/free-port.ts";

export type RegistryMode = "well" | "500" | "garbage" | "truncated";

export class RegistryKit {
  mode: RegistryMode = "well";
  /** Gives what is answered as JSON; a number: that status. */
  answer: (url: URL, request: IncomingMessage) => unknown = () => 404;
  readonly asked: URL[] = [];
  readonly #server: Server;

  constructor() {
    this.#server = createServer((request, response) => {
      const url = new URL(request.url!, "http://registry");
      this.asked.push(url);
      if (this.mode === "500") response.writeHead(500).end("{}");
      else if (this.mode === "garbage") response.end("<html>");
      else if (this.mode === "truncated") {
        response.writeHead(200, { "content-length": "1000" });
        response.write("{", () => response.destroy());
      } else {
        const value = this.answer(url, request);
        if (typeof value === "number") response.writeHead(value).end("no");
        else response.end(JSON.stringify(value));
      }
    });
  }

  /** Gives "127.0.0.1:port". */
  async listen(): Promise<string> {
    this.#server.listen(await freePort(), "127.0.0.1");
    await once(this.#server, "listening");
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  stop(): void {
    this.#server.close();
    this.#server.closeAllConnections();
  }
}
