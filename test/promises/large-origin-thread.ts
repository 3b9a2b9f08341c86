/**
 * An origin in a thread of its own, so that it does not slow the clients of a test down: it answers everything with
 * a body of 1 GiB, as fast as it is read, and counts in shared memory what it could send.
 */

import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { parentPort, workerData } from "node:worker_threads";

const BODY_BYTES = 1024 ** 3;
const chunk = Buffer.alloc(65_536);
const sent = new BigInt64Array(workerData as SharedArrayBuffer);

const server = createServer({ highWaterMark: chunk.length }, (_request, response) => {
  response.writeHead(200, { "content-length": BODY_BYTES });
  let left = BODY_BYTES;
  const more = () => {
    while (left > 0) {
      left -= chunk.length;
      Atomics.add(sent, 0, BigInt(chunk.length));
      if (!response.write(chunk)) return;
    }
    response.end();
  };
  response.on("drain", more);
  more();
});

server.listen({ port: 0, host: "127.0.0.1", backlog: 4096 }, () => {
  parentPort!.postMessage((server.address() as AddressInfo).port);
});
