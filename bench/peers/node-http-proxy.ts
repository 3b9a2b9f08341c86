/**
 * The plainest proxy that Node's own `http` module allows: what a gateway without an engine of its own would
 * stand on. Run as a program: node-http-proxy.ts PORT ORIGIN_PORT
 */

import { Agent, createServer, request } from "node:http";

const [port, originPort] = process.argv.slice(2).map(Number) as [number, number];
const agent = new Agent({ keepAlive: true, maxSockets: 1024, maxFreeSockets: 1024 });

const server = createServer((incoming, outgoing) => {
  const { connection: _, ...headers } = incoming.headers;
  const upstream = request(
    { host: "127.0.0.1", port: originPort, method: incoming.method, path: incoming.url, headers, agent },
    (answer) => {
      const { connection: _, ...fields } = answer.headers;
      outgoing.writeHead(answer.statusCode!, fields);
      answer.pipe(outgoing);
    },
  );
  upstream.on("error", () => {
    if (outgoing.headersSent) outgoing.destroy();
    else outgoing.writeHead(502).end();
  });
  incoming.pipe(upstream);
});
server.keepAliveTimeout = 3_600_000;
server.listen(port, "127.0.0.1", 4096);
