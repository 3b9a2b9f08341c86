/**
 * An origin that is deployed: it answers 1 KiB to everything and ends without any care for what runs. For `bench/deploys.ts`
 * and the scenario `bulkheads`.
 *
 *     bin/cardea-node bench/abrupt-origin.ts PORT
 *
 * `/hang` is never answered, `/fail` is 503, `/endless` is an answer that does not end.
 */

import { createServer, type ServerResponse } from "node:http";

const ANSWER = Buffer.alloc(1024, "x");
const PIECE = Buffer.alloc(16_384, "y");

const server = createServer({ keepAliveTimeout: 3_600_000 }, (request, response) => {
  if (request.url!.startsWith("/hang")) return;
  if (request.url!.startsWith("/endless")) sendOn(response);
  else response.writeHead(request.url!.startsWith("/fail") ? 503 : 200).end(ANSWER);
});
server.listen({ port: Number(process.argv[2]), host: "127.0.0.1", backlog: 4096 }, () =>
  console.log("ready"),
);
process.on("SIGTERM", () => process.exit(0));

/** As fast as it is read. */
function sendOn(response: ServerResponse): void {
  const more = (): void => {
    while (!response.destroyed && response.write(PIECE));
  };
  response.on("drain", more);
  more();
}
