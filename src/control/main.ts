/**
 * The control thread: the configuration's way from the store to the workers, and the APIs around it.
 *
 * It may die and be started again at any time: workers serve on, and the successor takes up from the store
 * and the shared memory. What a restart cannot mend (a damaged store, an unreadable key) is told to the
 * supervisor as fatal.
 */

import type { RequestListener, Server } from "node:http";
import { http } from "../lib/node-http.ts";
import { parentPort, workerData } from "node:worker_threads";
import { readOrMakeAdminKey } from "../api/admin/key-file.ts";
import { OwnListeners } from "./own-listeners.ts";
import { createAdminServer } from "../api/admin/server.ts";
import { createControlServer } from "../api/control/server.ts";
import { MetricsPage } from "../api/metrics/page.ts";
import { createMetricsServer } from "../api/metrics/server.ts";
import { HostCheck } from "../api/host-check.ts";
import { createStatusServer } from "../api/status/server.ts";
import { type AdminKey, sharesStore } from "../config/static-config.ts";
import { compactHeap } from "../lib/compact-heap.ts";
import { createLog } from "../lib/log.ts";
import { PluginCatalog } from "../plugins/catalog.ts";
import type { FromThread, ListenerHandle, ThreadStart, ToThread } from "../shared/messages.ts";
import { openSharedMemory } from "../shared/shared-memory.ts";
import { DocumentStore } from "../store/api/store.ts";
import type { Store } from "../store/contract.ts";
import { LinkConnector } from "../store/etcd/link/connector.ts";
import { Control } from "./control.ts";
import { openDiscoveries } from "./discovery/open.ts";
import { openGateways } from "./gateways/open.ts";
import { openHealth } from "./health/open.ts";
import { openKeyring } from "./keyring.ts";
import { yieldToWorkers } from "./low-priority.ts";
import { metricsFacts } from "./metrics-facts.ts";
import { openStore, snapshotPlace } from "./open-store.ts";
import { Resolver } from "./resolver/resolver.ts";
import { openRollouts } from "./rollouts/open.ts";
import { reserveRevisions } from "./revision-reserve.ts";
import { warmUp } from "./warm-up.ts";

const start = workerData as ThreadStart;
const { config, dataFolder } = start;
const owner: Record<string, string> = config.tenant === null ? {} : { tenant: config.tenant };
const log = createLog("control", config.log.level, owner);
const shared = openSharedMemory(start.shared, start.slot, start.generation);
const servers: Server[] = [];
/** To the thread that holds the connection to the etcd; null: there is none to be shared. */
const storeLink =
  config.store.type === "etcd" && sharesStore(config)
    ? new LinkConnector(config.store.endpoints.length)
    : null;
/** Until the supervisor has sent its port; later the store is out of reach until then. */
const LINK_PATIENCE_MS = 2000;
/** Messages that arrive before there is somebody to take them. */
let takeMessage: ((message: ToThread) => void) | null = null;
const early: ToThread[] = [];
let isDraining = false;
let stopWarmUp: () => void = () => {};
/** A node that is started is soon left alone. */
const SETTLED_MS = 5000;
let stopHealth: () => void = () => {};
let leaveGateways: () => Promise<void> = () => Promise.resolve();
let stopRollouts: () => void = () => {};

parentPort!.on("message", (message: ToThread) => {
  if (message.type === "store-link") storeLink?.attach(message.port);
  else if (takeMessage === null) early.push(message);
  else takeMessage(message);
});
setInterval(() => shared.threads.beat(start.slot), config.supervision.heartbeatMs);
shared.threads.beat(start.slot);

try {
  await run();
  // Not before: a start is waited for.
  await yieldToWorkers(log);
  compactHeap(SETTLED_MS);
  tell({ type: "ready" });
} catch (error) {
  log.error("control cannot start", { error: String(error) });
  log.flush();
  tell({ type: "fatal", message: error instanceof Error ? error.message : String(error) });
}

async function run(): Promise<void> {
  const plugins = new PluginCatalog(config.plugins.enabled);
  const health = openHealth(shared.health, config, dataFolder, log);
  stopHealth = () => health.checker.close();
  // Those of tenants are as private, and on the same machine.
  const listeners = [config, ...config.tenants].flatMap((each) => each.listeners);
  const discoveries = openDiscoveries({ ...config, listeners }, dataFolder, log);
  const own = new OwnListeners(listeners);
  await storeLink?.attached(LINK_PATIENCE_MS);
  const control = new Control({
    store: await openStore(config.store, dataFolder, plugins, log, storeLink),
    plugins,
    encryption: {
      cipher: openKeyring(dataFolder, config.encryption.keyring, config.store.type === "etcd"),
      plugins: config.encryption.enabled,
    },
    threads: shared.threads,
    resolver: new Resolver(config.resolver, {
      onFailure: (host, reason, pauseMs) =>
        log.warn("a host name is not resolved", { host, reason, pauseMs }),
    }),
    discoveries,
    sources: {
      authorities: config.tls.upstreamAuthorities,
      isOwnListener: (url) => own.isLedTo(url),
    },
    sharesTicketKey: config.tls.sessionTickets && config.store.type === "etcd",
    startRevision: reserveRevisions(dataFolder),
    onItem: (item) => health.take(item),
    snapshot: snapshotPlace(config, dataFolder),
    log,
  });
  for (const { host } of config.fallback?.nodes ?? []) control.state.hosts.keep(host);
  takeMessage = (message) => onMessage(message, control);
  for (const message of early.splice(0)) takeMessage(message);
  health.drains.connect(control.publisher);
  const hasTraffic = config.listeners.some(({ purpose }) => purpose === "http" || purpose === "https");
  const rollouts = openRollouts(control, hasTraffic, shared.metricReader, dataFolder, log);
  stopRollouts = () => rollouts.stop();
  const loading = control.start();

  const { store, state, feed, publisher } = control;
  const hosts = new HostCheck(config.privateHosts);
  const gateways = openGateways({ control, drains: health.drains, discoveries, dataFolder, log });
  leaveGateways = () => gateways.close();
  if (config.admin.enabled) {
    const audit = createLog("audit", "info", owner);
    const document = store instanceof DocumentStore ? store : null;
    const parts = { store, document, state, feed, publisher, plugins, hosts, log, audit };
    const { takeDown } = gateways;
    const routerMode = config.router.http;
    const { gauges } = shared;
    const admin = { ...parts, gauges, routerMode, listeners, config: config.admin, keys: adminKeys() };
    const server = createAdminServer({ ...admin, takeDown });
    await server.ready();
    await listen("admin", server.routing);
  }
  const { threads, counters } = shared;
  const controlParts = { state, publisher, plugins, threads, counters, hosts, loaded: loading };
  const watching = { health: health.report, drains: health.drains, discoveries, rollouts: rollouts.report };
  const controlApi = createControlServer({ ...controlParts, ...watching });
  await controlApi.ready();
  await listen("control", controlApi.routing);
  const status = createStatusServer({
    threads,
    isDraining: () => isDraining || areWorkersDraining(),
    objection: () =>
      documentObjection(store) ??
      ageObjection(control, config.survival.maxAgeMs) ??
      discoveries.objection() ??
      control.certificates.objection(),
  });
  await listen("status", requestListenerOf(status));
  const page = new MetricsPage(shared, () => {
    const facts = metricsFacts(control, config.metrics.prefix);
    const own = [...health.families(), ...discoveries.families(), ...rollouts.report.families()];
    const families = [...(facts.families ?? []), ...own];
    return { ...facts, labels: owner, families };
  });
  publisher.renderMetrics = (accept) => page.render(accept);
  if (config.metrics.enabled) {
    await listen("metrics", requestListenerOf(createMetricsServer(page, config.metrics.uri, hosts)));
  }
  await loading;
  health.start();
  gateways.start(config.admin.enabled);
  if (!isDraining) rollouts.start();
  stopWarmUp = warmUp(state.types.values(), plugins.list());
  log.info("configuration loaded", { revision: feed.revision, published: publisher.revision });
}

function adminKeys(): readonly AdminKey[] {
  if (!config.admin.keyRequired || config.admin.keys.length > 0) return config.admin.keys;
  const { file, key, isNew } = readOrMakeAdminKey(dataFolder);
  const said = isNew ? "an admin key was made" : "the admin key of this data folder is used";
  log.info(`${said}: send the content of the file as X-API-KEY`, { file });
  return [{ name: "admin", key, role: "admin", scope: null }];
}

function onMessage(message: ToThread, control: Control): void {
  switch (message.type) {
    case "peer":
      control.publisher.attach(message.slot, message.generation, message.port);
      break;
    case "drain":
      void drain(control, message.timeoutMs);
      break;
    case "reopen":
    case "store-link":
      break;
  }
}

/** Lets requests that run finish, within the time; then the store is closed. */
async function drain(control: Control, timeoutMs: number): Promise<void> {
  isDraining = true;
  stopWarmUp();
  stopRollouts();
  stopHealth();
  const closed = servers.map((server) => new Promise((resolve) => server.close(resolve)));
  const forced = setTimeout(() => {
    for (const server of servers) server.closeAllConnections();
  }, timeoutMs / 2);
  await Promise.all(closed);
  clearTimeout(forced);
  await leaveGateways();
  await control.close();
  log.flush();
  tell({ type: "drained" });
}

/** One server per listener, all of a purpose with the same handler. */
async function listen(purpose: ListenerHandle["purpose"], handler: RequestListener): Promise<void> {
  for (const listener of start.listeners) {
    if (listener.purpose !== purpose) continue;
    const server = http.createServer({ headersTimeout: 10_000, requestTimeout: 60_000 }, handler);
    server.maxConnections = 1000;
    servers.push(server);
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen({ fd: listener.fd }, () => resolve());
    });
  }
}

/** A node that waits for its first document answers 404 to everything: it must get no traffic. */
function documentObjection(store: Store): string | null {
  if (!(store instanceof DocumentStore) || store.document !== null) return null;
  return "no configuration was put yet";
}

/** Why a node whose configuration may be old must get no traffic; null: it may. */
function ageObjection(control: Control, maxAgeMs: number): string | null {
  const ageMs = control.ageMs();
  if (maxAgeMs === 0 || ageMs === null || ageMs <= maxAgeMs) return null;
  const seconds = Math.floor(ageMs / 1000);
  return `the configuration was not confirmed by the store for ${seconds} s`;
}

function requestListenerOf(server: Server): RequestListener {
  return server.listeners("request")[0] as RequestListener;
}

function areWorkersDraining(): boolean {
  const { threads } = shared;
  for (let slot = 0; slot < threads.workers; slot++) if (threads.state(slot) !== "draining") return false;
  return true;
}

function tell(message: FromThread): void {
  parentPort!.postMessage(message);
}
