/**
 * Ports for what must know its port before it listens there: other programs, nodes with several listeners, servers
 * that go and come back.
 *
 * The system does not choose them (`listen(0)`, then `close`): its choice comes from the range that outgoing connections
 * and every other `listen(0)` of the machine draw from, so that somebody may have the port a moment later, or get it
 * while a server is away. These lie outside that range. They come in blocks that one process owns as long as it lives:
 * it listens on the first port of the block, and when it dies, however, the system frees that. Test files run as
 * processes beside each other, also of several work trees, and none meets another's ports. What a dead process left
 * running is noticed by a probe.
 *
 * Whoever can listen on port 0 and stay there does not need this.
 */

import { createSocket } from "node:dgram";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer } from "node:net";

/** Below are the defaults of most programs, the gateway's own among them. */
const LOWEST_PORT = 10_000;
const HIGHEST_PORT = 65_535;
/** The guard and its ports; a test file wants a dozen. */
const BLOCK_PORTS = 64;
/** What Linux has, where the machine does not tell. */
const USUAL_RANGE = [32_768, 60_999] as const;
const RANGE_FILE = "/proc/sys/net/ipv4/ip_local_port_range";

let next = 0;
let left = 0;
let taking: Promise<void> | null = null;
let block = process.pid;

/**
 * A port on which nobody listens, for TCP or UDP, on any address of this machine, and which no test or bench is given
 * again while this process lives.
 */
export async function freePort(): Promise<number> {
  for (;;) {
    while (left === 0) {
      taking ??= takeBlock().finally(() => (taking = null));
      await taking;
    }
    left--;
    const port = next++;
    if (await isFree(port)) return port;
  }
}

export async function freePorts(count: number): Promise<number[]> {
  return await Promise.all(Array.from({ length: count }, freePort));
}

/** First and last port that the system gives to nobody by itself, as many as there are in one piece. */
export function portsOutside([low, high]: readonly [number, number]): [number, number] {
  const [below, above] = [low - LOWEST_PORT, HIGHEST_PORT - high];
  if (Math.max(below, above) < 10 * BLOCK_PORTS) return [LOWEST_PORT, USUAL_RANGE[0] - 1];
  return below >= above ? [LOWEST_PORT, low - 1] : [high + 1, HIGHEST_PORT];
}

/** The first block that nobody guards, from one that neighbours in time do not begin with. */
async function takeBlock(): Promise<void> {
  const [first, last] = portsOutside(ephemeralRange());
  const blocks = Math.floor((last - first + 1) / BLOCK_PORTS);
  for (let tries = 0; tries < blocks; tries++) {
    const guardPort = first + (block++ % blocks) * BLOCK_PORTS;
    const guard = createServer((socket) => socket.destroy()).unref();
    if (!(await listens(guard, { port: guardPort, host: "127.0.0.1" }))) continue;
    next = guardPort + 1;
    left = BLOCK_PORTS - 1;
    return;
  }
  throw new Error(`every block of ports from ${first} to ${last} is taken`);
}

function ephemeralRange(): readonly [number, number] {
  try {
    const [low, high] = readFileSync(RANGE_FILE, "utf8").trim().split(/\s+/).map(Number);
    return [low, high];
  } catch {
    return USUAL_RANGE;
  }
}

/** On 0.0.0.0, the system refuses what is taken on any single address, too. */
async function isFree(port: number): Promise<boolean> {
  for (const place of [
    { port, host: "0.0.0.0" },
    { port, host: "::", ipv6Only: true },
  ]) {
    const server = createServer();
    if (!(await listens(server, place))) return false;
    if (!server.listening) continue;
    server.close();
    await once(server, "close");
  }
  const socket = createSocket("udp4");
  socket.bind({ port, exclusive: true });
  try {
    await once(socket, "listening");
  } catch {
    return false;
  } finally {
    socket.close();
  }
  return true;
}

/** False if somebody else does. A machine without IPv6 has nobody there. */
async function listens(
  server: ReturnType<typeof createServer>,
  place: { port: number; host: string; ipv6Only?: boolean },
): Promise<boolean> {
  try {
    await once(server.listen(place), "listening");
    return true;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "EADDRNOTAVAIL" || code === "EAFNOSUPPORT") return true;
    if (code === "EADDRINUSE" || code === "EACCES") return false;
    throw error;
  }
}
