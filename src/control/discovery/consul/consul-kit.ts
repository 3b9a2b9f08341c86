/**
 * A Consul for tests: catalogue, checks and keys over HTTP, with the blocking queries, indexes and statuses of the real
 * one, and the ways in which it may fail.
 *
 * Sources: https://developer.hashicorp.com/consul/api-docs/features/blocking, /health, /catalog, /kv
 */

import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { freePort } from "../../../../test/ports/free-port.ts";

export type ConsulMode = "well" | "500" | "garbage" | "truncated" | "silent" | "amnesic";

export interface ConsulInstance {
  address: string;
  port: unknown;
  isPassing?: boolean;
}

type Table = "catalog" | "health" | "kv";

export class ConsulKit {
  /** Changes are told by `changed`. */
  readonly services = new Map<string, ConsulInstance[]>();
  readonly keys = new Map<string, string>();
  mode: ConsulMode = "well";
  /** Others are refused; empty: there are no ACLs. */
  token = "";
  /** Paths with queries, in order. */
  readonly asked: string[] = [];
  readonly #indexes: Record<Table, number> = { catalog: 10, health: 11, kv: 12 };
  readonly #server: Server;
  #blocked = new Set<() => void>();
  #waiting: (() => void)[] = [];

  constructor() {
    this.#server = createServer((request, response) => this.#answer(request, response));
  }

  /** Gives "http://127.0.0.1:port". */
  async listen(port?: number): Promise<string> {
    this.#server.listen(port ?? (await freePort()), "127.0.0.1");
    await once(this.#server, "listening");
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** Waits for so many blocking queries. */
  async untilBlocked(count: number): Promise<void> {
    while (this.#blocked.size < count) await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  /** What was blocked on this table is answered. */
  changed(table: Table): void {
    this.#indexes[table]++;
    this.#wake();
  }

  /** As after a restore from a backup. */
  forgetIndexes(): void {
    for (const table of ["catalog", "health", "kv"] as const) this.#indexes[table] = 2;
    this.#wake();
  }

  /** Connections are cut; it listens no more. */
  stop(): void {
    this.#server.close();
    this.#server.closeAllConnections();
  }

  #wake(): void {
    const blocked = this.#blocked;
    this.#blocked = new Set();
    for (const look of blocked) look();
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const url = new URL(request.url!, "http://consul");
    this.asked.push(request.url!);
    if (this.token !== "" && request.headers["x-consul-token"] !== this.token) {
      response.writeHead(403).end("Permission denied");
      return;
    }
    switch (this.mode) {
      case "500":
        response.writeHead(500).end("rpc error: No cluster leader");
        return;
      case "garbage":
        response.setHeader("x-consul-index", "99").end("<html>not Consul</html>");
        return;
      case "truncated":
        response.writeHead(200, { "content-length": "1000", "x-consul-index": "99" });
        response.write('[{"Service":', () => response.destroy());
        return;
      case "silent":
        return;
      default:
        this.#block(url, response);
    }
  }

  /** A query with the index that is current is held until something changes, or its wait is over. */
  #block(url: URL, response: ServerResponse): void {
    const { pathname, searchParams: query } = url;
    const table: Table = pathname.startsWith("/v1/catalog/")
      ? "catalog"
      : pathname.startsWith("/v1/kv/")
        ? "kv"
        : "health";
    const index = Number(query.get("index") ?? 0);
    let isOver = index === 0;
    let timer: NodeJS.Timeout | undefined;
    const look = (): void => {
      if (this.#indexes[table] === index && !isOver) {
        this.#blocked.add(look);
        for (const resolve of this.#waiting.splice(0)) resolve();
        return;
      }
      clearTimeout(timer);
      response.setHeader("x-consul-index", String(this.#indexes[table]));
      const value = this.#valueOf(pathname, query);
      if (value === null) response.writeHead(404).end();
      else response.setHeader("content-type", "application/json").end(JSON.stringify(value));
    };
    const waitMs = Number.parseInt(query.get("wait") ?? "300", 10) * 1000;
    if (!isOver) {
      timer = setTimeout(() => {
        isOver = true;
        this.#blocked.delete(look);
        look();
      }, waitMs);
    }
    response.on("close", () => {
      clearTimeout(timer);
      this.#blocked.delete(look);
    });
    look();
  }

  #valueOf(pathname: string, query: URLSearchParams): unknown {
    const isAmnesic = this.mode === "amnesic";
    if (pathname === "/v1/catalog/services") {
      return isAmnesic ? {} : Object.fromEntries([...this.services.keys()].map((name) => [name, []]));
    }
    if (pathname === "/v1/health/state/any") return [];
    if (pathname.startsWith("/v1/health/service/")) {
      const name = decodeURIComponent(pathname.slice("/v1/health/service/".length));
      const instances = isAmnesic ? [] : (this.services.get(name) ?? []);
      return instances
        .filter(({ isPassing = true }) => isPassing || !query.has("passing"))
        .map(({ address, port }, i) => ({
          Node: { Node: "node-1", Address: "10.9.9.9", Datacenter: "dc1" },
          Service: { ID: `${name}-${i}`, Service: name, Tags: [], Address: address, Port: port, Meta: null },
          Checks: [],
        }));
    }
    const prefix = decodeURIComponent(pathname.slice("/v1/kv/".length));
    const found = isAmnesic ? [] : [...this.keys].filter(([key]) => key.startsWith(prefix));
    // Consul says so of keys that are not there.
    if (found.length === 0) return null;
    return found.map(([Key, value]) => ({
      LockIndex: 0,
      Key,
      Flags: 0,
      Value: value === "" ? null : Buffer.from(value).toString("base64"),
      CreateIndex: 5,
      ModifyIndex: 5,
    }));
  }
}
