/** Starts Cardea as users do: through its launcher, a static file and a data folder. */

import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Processes } from "../processes.ts";
import { ADMIN_KEY } from "../admin-client.ts";
import { untilReady } from "./peer.ts";
import type { Peer } from "./peer.ts";
import { freePort } from "../../test/ports/free-port.ts";

const START_TIMEOUT_MS = 60_000;
const LAUNCHER = join(import.meta.dirname, "..", "..", "bin", "cardea");
const KEYRING_KEY = "key-of-the-bench";
const FOREVER_REQUESTS = 1_000_000_000;

export interface CardeaOptions {
  folder: string;
  /** Data folder; holds what was written in an earlier start. */
  dataFolder: string;
  cores?: string;
  workers: number;
  accessLog: boolean;
  /** What is measured is its TLS port. */
  isSecure?: boolean;
  /** What is measured is its port for streams. */
  isStream?: boolean;
  /** URL of the etcd that has the routes. */
  etcd?: string;
  router?: "radixtree_host_uri" | "radixtree_uri" | "radixtree_uri_with_parameter";
}

export interface Cardea extends Peer {
  adminPort: number;
  metricsPort: number;
  /** From the start of the command until the node said that it is ready. */
  startSeconds: number;
}

export async function startCardea(processes: Processes, options: CardeaOptions): Promise<Cardea> {
  const {
    folder,
    dataFolder,
    cores,
    workers,
    accessLog,
    isSecure = false,
    isStream = false,
    etcd,
    router = "radixtree_host_uri",
  } = options;
  mkdirSync(folder, { recursive: true });
  const [port, adminPort, controlPort, metricsPort, statusPort, tlsPort, streamPort] = await Promise.all(
    Array.from({ length: 7 }, freePort),
  );
  const configFile = join(folder, "config.json");
  const logFile = join(folder, "output.log");
  const configuration = {
    apisix: {
      node_listen: [{ ip: "127.0.0.1", port }],
      control: { ip: "127.0.0.1", port: controlPort },
      status: { ip: "127.0.0.1", port: statusPort },
      ssl: { enable: isSecure, listen: [{ ip: "127.0.0.1", port: tlsPort }] },
      router: { http: router },
      ...(isStream && { proxy_mode: "http&stream", stream_proxy: { tcp: [`127.0.0.1:${streamPort}`] } }),
      data_encryption: etcd === undefined ? {} : { keyring: [KEYRING_KEY] },
    },
    deployment: {
      admin: { admin_listen: { ip: "127.0.0.1", port: adminPort } },
      ...(etcd === undefined ? {} : { etcd: { host: [etcd] } }),
    },
    nginx_config: { http: { enable_access_log: accessLog } },
    plugin_attr: { prometheus: { export_addr: { ip: "127.0.0.1", port: metricsPort } } },
    cardea: {
      workers,
      http: { max_requests_per_connection: FOREVER_REQUESTS, idle_timeout: "3600s" },
      upstream: { keepalive_requests: FOREVER_REQUESTS, keepalive_timeout: "3600s" },
    },
  };
  writeFileSync(configFile, JSON.stringify(configuration, null, 2));
  const startedAt = performance.now();
  const child = processes.start(
    process.execPath,
    [LAUNCHER, "start", "-c", configFile, "--data", dataFolder],
    {
      cores,
      logFile,
      env: { ...process.env, CARDEA_ADMIN_KEY: ADMIN_KEY },
    },
  );
  await untilReady(child, START_TIMEOUT_MS, logFile, async () => {
    const answer = await fetch(`http://127.0.0.1:${statusPort}/status/ready`);
    await answer.arrayBuffer();
    if (answer.status !== 200) throw new Error(`/status/ready answers ${answer.status}`);
  });
  const startSeconds = (performance.now() - startedAt) / 1000;
  return {
    name: "cardea",
    process: child,
    port: isSecure ? tlsPort : isStream ? streamPort : port,
    isSecure,
    adminPort: adminPort,
    metricsPort: metricsPort,
    startSeconds,
  };
}
