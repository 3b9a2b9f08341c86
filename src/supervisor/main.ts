/**
 * The node process, as the launcher starts it: the supervisor on the main thread, driven by the launcher's messages.
 *
 * The launcher decides about life and death. Signals that reach this process directly (a terminal sends Ctrl-C to
 * both) mean the same as its message, and nothing twice. Without the launcher no thread could be replaced any more:
 * when it is gone, the node drains and ends.
 */

import type { StaticConfig } from "../config/static-config.ts";
import { compactHeap } from "../lib/compact-heap.ts";
import { createLog, type Log } from "../lib/log.ts";
import { LauncherLink } from "./launcher-link.ts";
import { EXIT_FATAL, type SocketPlan, type ToNode } from "./protocol.ts";
import { Tenancy } from "./tenancy.ts";
import { DataFolderInUseError } from "./data-folder-lock.ts";
import { threadEntries } from "./test-parts.ts";

let supervisor: Tenancy | null = null;
let log: Log = createLog("supervisor");
let isDraining = false;

if (process.send === undefined) {
  process.stderr.write("this is a part of Cardea that its launcher starts: run `cardea start`\n");
  process.exit(EXIT_FATAL);
}

const link = new LauncherLink(onMessage, () => {
  log.warn("the launcher is gone: this node drains and ends");
  void drainAndEnd(0);
});

process.on("SIGTERM", () => void drainAndEnd(0));
process.on("SIGINT", () => void drainAndEnd(0));
process.on("SIGHUP", () => supervisor?.reopenLogs());
// Upgrades are the launcher's; without a handler the signal would end the process.
process.on("SIGUSR2", () => {});

function onMessage(message: Exclude<ToNode, { type: "socket" }>): void {
  switch (message.type) {
    case "start":
      start(message);
      break;
    case "drain":
      void drainAndEnd(0);
      break;
    case "stop":
      void end(0);
      break;
    case "reopen":
      supervisor?.reopenLogs();
      break;
    case "yield":
      void supervisor?.yieldControl().then(() => link.say({ type: "yielded" }));
      break;
    case "resume":
      resume();
      break;
    case "replace":
      void supervisor?.replace(message.slot).then(() => link.say({ type: "replaced", slot: message.slot }));
      break;
  }
}

function start({
  config,
  warnings,
  dataFolder,
  sockets,
  isUpgrade,
}: Extract<ToNode, { type: "start" }>): void {
  log = createLog("supervisor", config.log.level, { pid: process.pid });
  for (const warning of warnings) log.warn(warning);
  try {
    supervisor = new Tenancy({
      config,
      dataFolder,
      plans: sockets,
      take: (key) => link.take(key),
      entries: threadEntries(),
      mustStartCleanly: isUpgrade,
      log,
      onReady: () => {
        log.info("the node serves", {
          workers: config.workers,
          ...(config.tenants.length > 0 && { tenants: config.tenants.map(({ tenant }) => tenant) }),
          node: process.version,
          listeners: places(sockets, config),
        });
        void link.say({ type: "ready" });
      },
      onFatal: (text) => fatal(text),
    });
    supervisor.start();
    compactHeap();
  } catch (error) {
    fatal(error instanceof DataFolderInUseError ? error.message : describe(error));
  }
}

function resume(): void {
  try {
    supervisor?.resumeControl();
  } catch (error) {
    fatal(describe(error));
  }
}

/** Threads that serve already, possibly beside an old node on the same sockets, finish their requests. */
function fatal(message: string): void {
  log.error(message);
  process.stderr.write(`${message}\n`);
  void drainAndEnd(EXIT_FATAL);
}

async function drainAndEnd(code: number): Promise<void> {
  if (!isDraining) log.info("the node drains");
  isDraining = true;
  if (supervisor !== null) await supervisor.drain();
  await end(code);
}

async function end(code: number): Promise<void> {
  await link.say({ type: "ending", code });
  log.flush();
  process.exit(code);
}

/** "http 0.0.0.0:9080" or "shop http 0.0.0.0:9081", once per listener; for UDP, too, whose sockets a worker opens itself. */
function places(sockets: SocketPlan[], config: StaticConfig): string[] {
  const datagrams = [config, ...config.tenants].flatMap(({ tenant, listeners }) =>
    listeners
      .filter(({ purpose }) => purpose === "stream-udp")
      .map(({ purpose, address, port }) => ({ tenant, purpose, address, port })),
  );
  return [
    ...new Set(
      [...sockets, ...datagrams].map(({ tenant, purpose, address, port }) => {
        const whose = tenant == null ? "" : `${tenant} `;
        return `${whose}${purpose} ${address}:${port}`;
      }),
    ),
  ];
}

function describe(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}
