/** Whole gateways on an etcd of a test, and an origin for their routes. */

import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import type { TestContext } from "node:test";
import type { StaticConfig } from "../../src/config/static-config.ts";
import { type NodeOptions, RealNode } from "../promises/real-node.ts";

/** Of these tests alone. */
export const SECRET_KEY = "key-of-the-tests";
/** One that APISIX's documentation prints. */
export const PUBLIC_KEY = "qeddd145sfvddff3";

export async function startOrigin(t: TestContext): Promise<number> {
  const server = createServer((request, response) => response.end(`origin ${request.url}`));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", () => resolve()));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}

/** With one worker. */
export async function startNode(
  t: TestContext,
  endpoints: string[],
  change: (config: StaticConfig) => void = () => {},
  rest: Omit<NodeOptions, "change"> = {},
): Promise<RealNode> {
  return await RealNode.start(t, {
    ...rest,
    change: (config) => {
      config.store = {
        type: "etcd",
        endpoints,
        prefix: "/apisix",
        timeoutMs: 10_000,
        avoidFailedMs: 10_000,
        longestPauseMs: 500,
        user: null,
        tls: null,
        historyRevisions: 10_000,
        historyDays: 30,
      };
      config.workers = 1;
      config.groups = [{ name: "default", workers: 1 }];
      config.encryption.keyring = [SECRET_KEY, PUBLIC_KEY];
      change(config);
    },
  });
}

/** Asks until it holds: what comes through the etcd is told to nobody here. */
export async function until(holds: () => Promise<boolean> | boolean): Promise<void> {
  while (!(await holds())) await new Promise((resolve) => setTimeout(resolve, 10));
}

/** TCP connections of this process to a port on loopback, and what becomes of them. */
export function connectionsTo(pid: number, port: number): number {
  const inodes = new Set<string>();
  for (const name of readdirSync(`/proc/${pid}/fd`)) {
    try {
      const inode = /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/${pid}/fd/${name}`))?.[1];
      if (inode !== undefined) inodes.add(inode);
    } catch {
      // It was closed meanwhile.
    }
  }
  const remote = `:${port.toString(16).toUpperCase().padStart(4, "0")}`;
  const lines = readFileSync("/proc/net/tcp", "utf8").trim().split("\n").slice(1);
  return lines.filter((line) => {
    const fields = line.trim().split(/\s+/);
    return fields[2].endsWith(remote) && inodes.has(fields[9]);
  }).length;
}
