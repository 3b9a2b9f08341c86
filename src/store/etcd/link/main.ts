/**
 * The thread that holds the one connection to the etcd of a node with tenants. It reads no resources and decides
 * nothing: whoever has a port to it says what is to be sent.
 */

import { parentPort, workerData } from "node:worker_threads";
import { compactHeap } from "../../../lib/compact-heap.ts";
import { DirectConnector } from "../channel.ts";
import { LinkHub } from "./hub.ts";
import type { LinkStart, LinkTask } from "./messages.ts";

const { config, heartbeatMs } = workerData as LinkStart;
const hub = new LinkHub(new DirectConnector(config));

parentPort!.on("message", ({ port }: LinkTask) => hub.serve(port));
compactHeap();
beat();
setInterval(beat, heartbeatMs);

function beat(): void {
  parentPort!.postMessage({ type: "beat" });
}
