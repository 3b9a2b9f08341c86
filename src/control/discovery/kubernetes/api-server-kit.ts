/**
 * An API server of Kubernetes for tests: lists in pages and watches of Endpoints or EndpointSlices, with versions,
 * bookmarks and 410, and the ways in which it may fail.
 *
 * Source: https://kubernetes.io/docs/reference/using-api/api-concepts/
 */

import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

export interface KitObject {
  metadata: { name: string; namespace: string; labels?: Record<string, string>; resourceVersion?: string };
  [field: string]: unknown;
}

export class ApiServerKit {
  readonly objects = new Map<string, KitObject>();
  /** Objects of a page of a list. */
  pageSize = 500;
  /** Answer to lists; 200: as it should be. */
  listStatus = 200;
  /** Watches from before it are refused with 410. */
  oldest = 0;
  /** Answer to watches; 200: as it should be. */
  watchStatus = 200;
  /** Lists go on for ever. */
  isEndless = false;
  token = "token-1";
  readonly lists: URL[] = [];
  readonly watches: URL[] = [];
  readonly #server: Server;
  readonly #watching = new Set<ServerResponse>();
  #version = 100;
  #waiting: (() => void)[] = [];

  constructor() {
    this.#server = createServer((request, response) => this.#answer(request, response));
  }

  async listen(): Promise<string> {
    this.#server.listen(0, "127.0.0.1");
    await once(this.#server, "listening");
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  stop(): void {
    this.#server.close();
    this.#server.closeAllConnections();
  }

  /** Waits until so many watches were begun. */
  async untilWatched(count: number): Promise<void> {
    while (this.watches.length < count) await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  put(object: KitObject): void {
    const key = `${object.metadata.namespace}/${object.metadata.name}`;
    const type = this.objects.has(key) ? "MODIFIED" : "ADDED";
    object.metadata.resourceVersion = String(++this.#version);
    this.objects.set(key, object);
    this.send(JSON.stringify({ type, object }));
  }

  delete(namespace: string, name: string): void {
    const object = this.objects.get(`${namespace}/${name}`)!;
    this.objects.delete(`${namespace}/${name}`);
    object.metadata.resourceVersion = String(++this.#version);
    this.send(JSON.stringify({ type: "DELETED", object }));
  }

  /** Gives the version that it tells. */
  bookmark(): string {
    const resourceVersion = String(++this.#version);
    this.send(
      JSON.stringify({ type: "BOOKMARK", object: { kind: "Endpoints", metadata: { resourceVersion } } }),
    );
    return resourceVersion;
  }

  /** To all who watch. */
  send(line: string): void {
    for (const response of this.#watching) response.write(`${line}\n`);
  }

  /** Ends all watches as the server does after `timeoutSeconds`; `isCut`: in the middle of an event instead. */
  endWatches(isCut = false): void {
    for (const response of this.#watching) {
      if (isCut) response.write('{"type":"MODIFIED","obj', () => response.destroy());
      else response.end();
    }
    this.#watching.clear();
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const url = new URL(request.url!, "http://kubernetes");
    const query = url.searchParams;
    if (request.headers.authorization !== `Bearer ${this.token}`) {
      response.writeHead(401).end("{}");
      return;
    }
    if (query.get("watch") === "true") {
      this.watches.push(url);
      if (this.watchStatus !== 200) response.writeHead(this.watchStatus).end("{}");
      else if (Number(query.get("resourceVersion")) < this.oldest) response.writeHead(410).end("{}");
      else {
        this.#watching.add(response);
        response.on("close", () => this.#watching.delete(response));
        response.writeHead(200, { "content-type": "application/json" }).flushHeaders();
      }
      for (const resolve of this.#waiting.splice(0)) resolve();
      return;
    }
    this.lists.push(url);
    if (this.listStatus !== 200) {
      response.writeHead(this.listStatus).end("{}");
      return;
    }
    const from = Number(query.get("continue") ?? 0);
    const items = [...this.objects.values()].slice(from, from + this.pageSize);
    const isLast = !this.isEndless && from + this.pageSize >= this.objects.size;
    const metadata = {
      resourceVersion: String(this.#version),
      continue: isLast ? "" : String(from + this.pageSize),
    };
    response.end(JSON.stringify({ kind: "EndpointsList", metadata, items }));
  }
}

export function endpoints(namespace: string, name: string, ...ips: string[]): KitObject {
  const ports = [
    { name: "http", port: 8080, protocol: "TCP" },
    { port: 9090, protocol: "TCP" },
  ];
  const notReadyAddresses = [{ ip: "10.9.9.9" }];
  return {
    metadata: { name, namespace },
    subsets: [{ addresses: ips.map((ip) => ({ ip })), notReadyAddresses, ports }],
  };
}

export function slice(namespace: string, service: string, name: string, ...ips: string[]): KitObject {
  const ready = ips.map((ip) => ({ addresses: [ip], conditions: { ready: true } }));
  return {
    metadata: { name, namespace, labels: { "kubernetes.io/service-name": service } },
    addressType: "IPv4",
    endpoints: [...ready, { addresses: ["10.9.9.9"], conditions: { ready: false } }],
    ports: [{ name: "http", port: 8080 }],
  };
}
