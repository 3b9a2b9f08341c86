/**
 * Connections passed on as bytes, beside nginx's own stream proxy. The bytes are requests and answers, so that the load is the same
 * as elsewhere: `stream` is the cost of a small piece in each direction, `stream-100k` that of 100 KiB towards the client,
 * `stream-connections` that of a connection with one small piece in each direction.
 */

import type { RequestShape } from "../load/request-list.ts";
import type { Scenario } from "./scenario.ts";

export const streams: readonly Scenario[] = [
  streamScenario("stream", "TCP: pieces of 1 KiB on kept connections", { target: "/" }),
  streamScenario("stream-100k", "TCP: 100 KiB towards the client", { target: "/100k" }),
  streamScenario("stream-connections", "TCP: a connection for each piece of 1 KiB", {
    target: "/",
    headers: { connection: "close" },
  }),
];

function streamScenario(name: string, title: string, request: RequestShape): Scenario {
  return {
    name,
    title,
    async run(stage) {
      const node = { [`127.0.0.1:${stage.originPort}`]: 1 };
      const route = { path: "stream_routes/1", body: { upstream: { type: "roundrobin", nodes: node } } };
      const set = { base: [route], routes: [], requests: [request] };
      const requests = [request];
      return stage.closedLoop(name, [
        { name: "nginx", peer: await stage.nginxStream(), requests },
        { name: "cardea", peer: await stage.cardea("stream", () => set, { isStream: true }), requests },
      ]);
    },
  };
}
