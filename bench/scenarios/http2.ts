/** Clients that speak HTTP/2, without TLS, before an origin that speaks HTTP/1.1: many requests beside each other on few connections. */

import { bareCardea } from "./proxy.ts";
import type { Scenario } from "./scenario.ts";

export const http2: Scenario = {
  name: "http2",
  title: "Bare proxy for HTTP/2, 32 streams per connection, 1 KiB answers",
  async run(stage) {
    return stage.multiplexedLoop("http2", [
      { name: "nginx", peer: await stage.nginx({ http2: true }) },
      { name: "cardea", peer: await bareCardea(stage) },
    ]);
  },
};
