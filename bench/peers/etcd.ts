/** One member of an etcd with its default limits, and routes written into it as Cardea or APISIX would have. */

import { join } from "node:path";
import { DirectConnector } from "../../src/store/etcd/channel.ts";
import { EtcdStore } from "../../src/store/etcd/store.ts";
import type { Resource } from "../admin-client.ts";
import type { Processes } from "../processes.ts";
import { portOpens, untilReady } from "./peer.ts";
import type { Peer } from "./peer.ts";
import { freePort } from "../../test/ports/free-port.ts";

const START_TIMEOUT_MS = 30_000;
const BATCH = 100;
const CREATED = 1_700_000_000;

export interface EtcdOptions {
  etcd: string;
  folder: string;
  cores: string;
}

export async function startEtcd(processes: Processes, { etcd, folder, cores }: EtcdOptions): Promise<Peer> {
  const [port, peerPort] = [await freePort(), await freePort()];
  const [url, peerUrl] = [etcdUrl(port), etcdUrl(peerPort)];
  const logFile = join(folder, "output.log");
  // It shares the core of load and origin, which must not wait for it: a real one has cores of its own.
  const child = processes.start(
    "nice",
    [
      [
        "-n",
        "19",
        etcd,
        "--data-dir",
        join(folder, "data"),
        "--name",
        "m",
        "--initial-cluster",
        `m=${peerUrl}`,
      ],
      ["--listen-client-urls", url, "--advertise-client-urls", url],
      ["--listen-peer-urls", peerUrl, "--initial-advertise-peer-urls", peerUrl],
    ].flat(),
    { cores, logFile },
  );
  await untilReady(child, START_TIMEOUT_MS, logFile, () => portOpens(port));
  return { name: "etcd", process: child, port };
}

export function etcdUrl(port: number): string {
  return `http://127.0.0.1:${port}`;
}

/** Writes them without a history. */
export async function fillEtcd(port: number, resources: readonly Resource[]): Promise<void> {
  const store = new EtcdStore({
    connector: new DirectConnector({ endpoints: [etcdUrl(port)], avoidFailedMs: 0, tls: null }),
    prefix: "/apisix",
    timeoutMs: START_TIMEOUT_MS,
    longestPauseMs: 1000,
    user: null,
    historyRevisions: 0,
    historyDays: 0,
    log: { info: () => {}, warn: (message) => console.error(message) },
  });
  try {
    for (let i = 0; i < resources.length; i += BATCH) {
      const batch = resources.slice(i, i + BATCH).map(({ path, body }) => {
        const [plural, id] = path.split("/");
        const own = plural === "consumers" ? {} : { id };
        const value = JSON.stringify({
          ...(body as object),
          ...own,
          create_time: CREATED,
          update_time: CREATED,
        });
        return { type: "put" as const, key: `/${path}`, value };
      });
      await store.write(batch);
    }
  } finally {
    await store.close();
  }
}
