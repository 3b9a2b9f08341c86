/**
 * A node without data plane for the tests of the Admin API: real store, real control, a real listener, and
 * stand-in workers that apply configuration into a map and acknowledge it.
 */

import { mkdtempSync, rmSync } from "node:fs";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { MessageChannel, type MessagePort } from "node:worker_threads";
import type { FastifyInstance } from "fastify";
import { silent } from "../../src/lib/silent-log.ts";
import { createAdminServer } from "../../src/api/admin/server.ts";
import { createControlServer } from "../../src/api/control/server.ts";
import { HostCheck } from "../../src/api/host-check.ts";
import type { HealthReport } from "../../src/control/health/report.ts";
import type { AdminConfig, AdminKey } from "../../src/config/static-config.ts";
import type { HostResolver } from "../../src/control/addresses.ts";
import { Drains } from "../../src/control/health/drains.ts";
import { openKeyring } from "../../src/control/keyring.ts";
import { Control, type SnapshotPlace } from "../../src/control/control.ts";
import { reserveRevisions } from "../../src/control/revision-reserve.ts";
import type { Log } from "../../src/lib/log.ts";
import type { PublishedAddress } from "../../src/model/published.ts";
import { PluginCatalog } from "../../src/plugins/catalog.ts";
import { ConfigurationReader } from "../../src/shared/configuration-bytes.ts";
import type { ConfigurationMessage } from "../../src/shared/messages.ts";
import { HealthRegistry } from "../../src/shared/health-registry.ts";
import { createSharedMemory, openSharedMemory, type SharedMemory } from "../../src/shared/shared-memory.ts";
import { DocumentStore } from "../../src/store/api/store.ts";
import type { Store } from "../../src/store/contract.ts";
import { EmbeddedStore } from "../../src/store/embedded/store.ts";

export const KEY = "a-key-for-tests-0123456789";
/** What the node takes for the port of its Control API. */
export const CONTROL_PORT = 9090;
export const VIEWER_KEY = "a-viewer-key-0123456789";

/** Applies what control sends, as a worker does; it can be told to hold its acknowledgements back. */
class StandInWorker {
  readonly items = new Map<string, unknown>();
  readonly messages: ConfigurationMessage[] = [];
  isHolding = false;
  readonly #shared: SharedMemory;
  readonly #slot: number;
  #revision = 0;

  constructor(shared: SharedMemory, slot: number, port: MessagePort) {
    this.#shared = shared;
    this.#slot = slot;
    shared.threads.begin(slot, 1);
    this.connect(port);
  }

  connect(port: MessagePort): void {
    port.on("message", (message: ConfigurationMessage) => this.#take(message));
    port.unref();
    port.postMessage({ type: "hello", revision: this.#revision });
  }

  get revision(): number {
    return this.#revision;
  }

  #take(message: ConfigurationMessage): void {
    if (message.revision <= this.#revision) throw new Error("the published revision did not grow");
    this.messages.push(message);
    if (message.type === "snapshot") this.items.clear();
    const reader = new ConfigurationReader(message.bytes);
    for (let i = 0; i < reader.count; i++) {
      const { kind, id, bytes } = reader.item(i);
      if (bytes === null) this.items.delete(`${kind}/${id}`);
      else this.items.set(`${kind}/${id}`, bytes.parse());
    }
    this.#revision = message.revision;
    if (!this.isHolding) this.#shared.threads.acknowledge(this.#slot, message.revision);
  }
}

/** Answers when the test says so. */
class StandInResolver implements HostResolver {
  hosts = new Set<string>();
  #listener: (address: PublishedAddress) => void = () => {};

  watch(hosts: Set<string>): void {
    this.hosts = hosts;
  }

  onChange(listener: (address: PublishedAddress) => void): void {
    this.#listener = listener;
  }

  answer(host: string, addresses: string[]): void {
    this.#listener({ host, addresses });
  }

  close(): void {}
}

export interface Reply {
  status: number;
  headers: Headers;
  /** Of `X-Error-Pointer`. */
  pointer: string | null;
  /** Parsed, or the text when it is no JSON. */
  // oxlint-disable-next-line typescript/no-explicit-any -- tests look into bodies of every shape
  body: any;
  text: string;
}

const DEFAULTS: AdminConfig = {
  enabled: true,
  keyRequired: true,
  keys: [],
  allow: ["127.0.0.0/24"],
  cors: true,
  serverHeader: "APISIX/3.14.0",
  maxBodyBytes: 1_572_864,
};

export class TestNode {
  readonly folder: string;
  readonly shared: SharedMemory;
  readonly workers: StandInWorker[] = [];
  /** Lines of the audit log. */
  readonly audited: Record<string, unknown>[] = [];
  resolver = new StandInResolver();
  control!: Control;
  /** Before `start`: what else than a new embedded store it has, and where its snapshot is. */
  store: Store | null = null;
  snapshot: SnapshotPlace | null = null;
  log: Log = silent;
  readonly #health: HealthReport;
  readonly #config: AdminConfig;
  readonly #keys: readonly AdminKey[];
  #admin!: FastifyInstance;
  #controlApi!: FastifyInstance;
  #url = "";
  #controlUrl = "";

  constructor(config: Partial<AdminConfig> = {}, folder?: string, health?: HealthReport) {
    this.#health = health ?? { nodesOf: () => [] };
    this.folder = folder ?? mkdtempSync(join(tmpdir(), "cardea-admin-"));
    this.#config = { ...DEFAULTS, ...config };
    this.#keys = config.keys ?? [];
    const memory = { limitCounters: 1024, dictionaryBytes: 65_536, metricBytesPerWorker: 65_536 };
    this.shared = openSharedMemory(createSharedMemory(memory, 2), -1, 1);
  }

  /** Control with its API; workers are attached as the supervisor would. */
  async start(): Promise<this> {
    const plugins = new PluginCatalog(null);
    const { threads } = this.shared;
    const file = join(this.folder, "store.db");
    this.resolver = new StandInResolver();
    this.control = new Control({
      store: this.store ?? new EmbeddedStore({ file, historyRevisions: 1000, historyDays: 30 }),
      plugins,
      encryption: { cipher: openKeyring(this.folder, [], false), plugins: true },
      threads,
      resolver: this.resolver,
      startRevision: reserveRevisions(this.folder),
      snapshot: this.snapshot,
      log: this.log,
    });
    for (const slot of [0, 1]) {
      const { port1, port2 } = new MessageChannel();
      this.control.publisher.attach(slot, 1, port1);
      const worker = this.workers[slot];
      if (worker === undefined) this.workers.push(new StandInWorker(this.shared, slot, port2));
      else worker.connect(port2);
    }
    await this.control.start();
    const { store, state, feed, publisher } = this.control;
    const keys = [
      { name: "admin", key: KEY, role: "admin" as const, scope: null },
      { name: "viewer", key: VIEWER_KEY, role: "viewer" as const, scope: null },
      ...this.#keys,
    ];
    const audit: Log = { ...silent, info: (_message, fields) => void this.audited.push({ ...fields }) };
    const hosts = new HostCheck([]);
    const config = this.#config;
    const listeners = [{ purpose: "control" as const, port: CONTROL_PORT }];
    const parts = {
      config,
      document: store instanceof DocumentStore ? store : null,
      keys,
      routerMode: "radixtree_host_uri" as const,
      listeners,
      store,
      state,
      feed,
      publisher,
      plugins,
      hosts,
      log: this.log,
      audit,
    };
    this.#admin = createAdminServer(parts);
    this.#controlApi = createControlServer({
      state,
      publisher,
      plugins,
      threads,
      counters: { reset: () => 0 },
      hosts,
      health: this.#health,
      drains: new Drains(new HealthRegistry(this.shared.health), join(this.folder, "drains.json"), silent),
    });
    await this.#admin.listen({ host: "127.0.0.1", port: 0 });
    await this.#controlApi.listen({ host: "127.0.0.1", port: 0 });
    this.#url = urlOf(this.#admin);
    this.#controlUrl = urlOf(this.#controlApi);
    return this;
  }

  /** Ends control as a restart of its thread does; the workers stay. */
  async stopControl(): Promise<void> {
    await this.#admin.close();
    await this.#controlApi.close();
    await this.control.close();
  }

  async dispose(): Promise<void> {
    await this.stopControl();
    rmSync(this.folder, { recursive: true, force: true });
  }

  async call(
    method: string,
    path: string,
    body?: unknown,
    headers: Record<string, string> = {},
  ): Promise<Reply> {
    const url = `${this.#url}/apisix/admin${path}`;
    return await request(method, url, body, { "x-api-key": KEY, ...headers });
  }

  async callControl(method: string, path: string, headers: Record<string, string> = {}): Promise<Reply> {
    return await request(method, this.#controlUrl + path, undefined, headers);
  }

  get url(): string {
    return this.#url;
  }

  get controlUrl(): string {
    return this.#controlUrl;
  }

  /** Waits until every worker has what is published now. */
  async settle(): Promise<void> {
    const missing = await this.control.publisher.whenApplied(this.control.publisher.flush(), 10_000);
    if (missing.length > 0) throw new Error(`workers ${missing.join()} did not apply`);
  }
}

async function request(
  method: string,
  url: string,
  body: unknown,
  headers: Record<string, string>,
): Promise<Reply> {
  const init: RequestInit = { method, headers };
  if (body !== undefined) init.body = typeof body === "string" ? body : JSON.stringify(body);
  const response = await fetch(url, init);
  const text = await response.text();
  let parsed: unknown = text;
  try {
    parsed = JSON.parse(text);
  } catch {
    // Not everything is JSON: an answer without body, for one.
  }
  const { status } = response;
  const pointer = response.headers.get("x-error-pointer");
  return { status, headers: response.headers, pointer, body: parsed, text };
}

function urlOf(server: FastifyInstance): string {
  return `http://127.0.0.1:${(server.server.address() as AddressInfo).port}`;
}
