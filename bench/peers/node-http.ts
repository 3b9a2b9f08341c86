/** Starts the proxy over Node's own `http` module. */

import { mkdirSync } from "node:fs";
import { join } from "node:path";
import type { Processes } from "../processes.ts";
import { portOpens, untilReady } from "./peer.ts";
import type { Peer } from "./peer.ts";
import { freePort } from "../../test/ports/free-port.ts";

const START_TIMEOUT_MS = 10_000;
const PROGRAM = join(import.meta.dirname, "node-http-proxy.ts");

export async function startNodeHttp(
  processes: Processes,
  { folder, cores, originPort }: { folder: string; cores: string; originPort: number },
): Promise<Peer> {
  mkdirSync(folder, { recursive: true });
  const port = await freePort();
  const logFile = join(folder, "output.log");
  const child = processes.start(process.execPath, [PROGRAM, String(port), String(originPort)], {
    cores,
    logFile,
  });
  await untilReady(child, START_TIMEOUT_MS, logFile, () => portOpens(port));
  return { name: "node:http", process: child, port };
}
