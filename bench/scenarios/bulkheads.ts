/**
 * What an upstream that is ill does to the routes of others: the latency of a sound route while as many clients ask an
 * upstream that is well, hangs, answers 503, or sends without end; the same in nginx.
 *
 * The ill upstream and its clients share the core of the load and have what that leaves (`nice`). Clients of endless answers read
 * a megabyte per second each, as over a network, or as fast as they can: then there is always more to relay than
 * the gateway has time for, and the row shows how it divides its time.
 */

import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { freePort } from "../../test/ports/free-port.ts";
import { portOpens, untilReady } from "../peers/peer.ts";
import { pause } from "../processes.ts";
import type { Row } from "../results.ts";
import { median } from "../statistics.ts";
import { twoUpstreams } from "../routes.ts";
import { endBystander, type Stage } from "../stage.ts";
import type { Scenario } from "./scenario.ts";

const ORIGIN_PROGRAM = join(import.meta.dirname, "..", "abrupt-origin.ts");
const CLIENTS_PROGRAM = join(import.meta.dirname, "..", "bystanders.ts");
const START_TIMEOUT_MS = 10_000;
const CLIENTS = 20;
const REQUESTS_PER_SECOND = 1000;
/** An answer without end first fills the buffers of all sockets on its way, some megabytes each. */
const SETTLING_MS = 2000;
/** A thousand requests per second are few for a compiler. */
const WARM_UPS = 3;

/** Row, path at the ill upstream, and bytes per second that each client reads of an answer. */
const ILLS = [
  ["well", "/well", 0],
  ["hangs", "/hang", 0],
  ["503", "/fail", 0],
  ["endless, 1 MB/s to each", "/endless", 1_000_000],
  ["endless, as fast as read", "/endless", 0],
] as const;

export const bulkheads: Scenario = {
  name: "bulkheads",
  title: `A sound route at ${REQUESTS_PER_SECOND} requests per second beside ${CLIENTS} clients of another upstream`,
  async run(stage) {
    const port = await freePort();
    const { secondsPerRound: seconds } = stage.settings;
    const other = { port, paths: [...new Set(ILLS.map(([, path]) => path))], timeoutSeconds: 1 };
    const origin = await startOrigin(stage, port);
    const peers = [
      await stage.nginx({ other }),
      await stage.cardea("bulkheads", () => twoUpstreams(stage.originPort, other)),
    ];
    for (const { port: gatewayPort } of peers)
      for (let i = 0; i < WARM_UPS; i++)
        await stage.load.h2load(gatewayPort, ["/"], REQUESTS_PER_SECOND, seconds);
    const rows = peers.flatMap((peer) => ILLS.map(([name]) => ({ name: `${peer.name}, ${name}`, peer })));
    const beside: number[][] = rows.map(() => []);
    const found = await stage.inTurns("bulkheads", rows, async (i) => {
      const gatewayPort = rows[i].peer.port;
      const [, path, bytesPerSecond] = ILLS[i % ILLS.length];
      const args = [CLIENTS_PROGRAM, gatewayPort, path, CLIENTS, bytesPerSecond].map(String);
      const clients = stage.startBystander("clients", process.execPath, args);
      let said = "";
      clients.stdout!.on("data", (piece: Buffer) => (said += piece.toString()));
      const closed = once(clients, "close");
      try {
        await pause(SETTLING_MS);
        return await stage.load.h2load(gatewayPort, ["/"], REQUESTS_PER_SECOND, seconds);
      } finally {
        await endBystander(clients);
        await closed;
        beside[i].push(Number(said) / 1e6);
      }
    });
    await stage.processes.stop(origin);
    // CPU per request of the sound route would hold that of the others.
    return found.map(
      ({ scenario, contender, requestsPerSecond, p50Us, p99Us, p999Us, failures }, i): Row => ({
        scenario,
        contender,
        requestsPerSecond,
        p50Us,
        p99Us,
        p999Us,
        failures,
        besideMb: median(beside[i]),
      }),
    );
  },
};

async function startOrigin(stage: Stage, port: number): Promise<ChildProcess> {
  const origin = stage.startBystander("other-origin", process.execPath, [ORIGIN_PROGRAM, String(port)]);
  await untilReady(origin, START_TIMEOUT_MS, "the log of the other origin", () => portOpens(port));
  return origin;
}
