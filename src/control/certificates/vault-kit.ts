/**
 * A Vault for tests, as far as its key-value engines go: mount `kv` of version 1, mount `secret` of version 2, tokens,
 * namespaces, and the errors of its API.
 */

import { createServer, type IncomingMessage, type Server } from "node:http";
import type { AddressInfo } from "node:net";

export class VaultServer {
  token = "root-token";
  namespace: string | null = null;
  isSealed = false;
  /** Paths that were asked for. */
  readonly asked: string[] = [];
  readonly #secrets = new Map<string, { version: number; data: object; leaseS: number }>();
  readonly #server: Server;
  #wake: (() => void)[] = [];

  private constructor(server: Server) {
    this.#server = server;
  }

  static async start(t: { after(end: () => void): void }): Promise<VaultServer> {
    const server = createServer();
    const vault = new VaultServer(server);
    server.on("request", (request, response) => {
      const [status, body] = vault.#answer(request);
      response.writeHead(status, { "content-type": "application/json" });
      response.end(JSON.stringify(body));
      vault.asked.push(request.url!);
      for (const wake of vault.#wake.splice(0)) wake();
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", () => resolve()));
    t.after(() => {
      server.closeAllConnections();
      server.close();
    });
    return vault;
  }

  get uri(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** `path`: "kv/a/b" or "secret/a/b". */
  put(path: string, data: object, leaseS = 2_764_800): void {
    const version = (this.#secrets.get(path)?.version ?? 0) + 1;
    this.#secrets.set(path, { version, data, leaseS });
  }

  /** Ends when so many questions were answered. */
  async answered(count: number): Promise<void> {
    while (this.asked.length < count) {
      await new Promise<void>((resolve) => {
        this.#wake.push(resolve);
      });
    }
  }

  #answer({ url, method, headers }: IncomingMessage): [status: number, body: object] {
    if (this.isSealed) return [503, { errors: ["Vault is sealed"] }];
    const namespace = headers["x-vault-namespace"] ?? null;
    if (headers["x-vault-token"] !== this.token || namespace !== this.namespace)
      return [403, { errors: ["permission denied"] }];
    const [, mount, path] = /^\/v1\/(kv|secret\/data)\/(.+)$/.exec(url!) ?? [];
    if (method !== "GET" || mount === undefined) return [404, { errors: ["no handler for route"] }];
    const name = `${mount.replace("/data", "")}/${decodeURIComponent(path)}`;
    const secret = this.#secrets.get(name);
    if (secret === undefined) return [404, { errors: [] }];
    const { version, data, leaseS } = secret;
    const envelope = { request_id: "1", lease_id: "", renewable: false, wrap_info: null, warnings: null };
    if (mount === "kv") return [200, { ...envelope, lease_duration: leaseS, data }];
    const metadata = { created_time: "2026-01-01T00:00:00Z", deletion_time: "", destroyed: false, version };
    return [200, { ...envelope, lease_duration: 0, data: { data, metadata } }];
  }
}
