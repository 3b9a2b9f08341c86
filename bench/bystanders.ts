/**
 * Clients of an upstream that may be ill: they ask one after the other, each with a pause, and take the answers as fast as
 * told, until SIGTERM. Run as a program: bystanders.ts PORT PATH CLIENTS BYTES_PER_SECOND (of each; 0: as fast as they can)
 *
 * Prints what they have read each second, all of them together, in bytes. Whatever comes of a request is well.
 */

import { get } from "node:http";

const PAUSE_MS = 100;
const [port, path, clients, bytesPerSecond] = [
  Number(process.argv[2]),
  process.argv[3],
  Number(process.argv[4]),
  Number(process.argv[5]),
];
const startedAt = performance.now();
let bytes = 0;

function ask(): void {
  const request = get({ port, path, agent: false }, (response) => {
    response.on("data", (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytesPerSecond === 0) return;
      response.pause();
      setTimeout(() => response.resume(), (chunk.length / bytesPerSecond) * 1000);
    });
    response.on("error", () => {});
  });
  request.on("error", () => {});
  request.on("close", () => setTimeout(ask, PAUSE_MS));
}

for (let i = 0; i < clients; i++) ask();

process.once("SIGTERM", () => {
  process.stdout.write(`${Math.round((bytes / (performance.now() - startedAt)) * 1000)}\n`, () =>
    process.exit(0),
  );
});
