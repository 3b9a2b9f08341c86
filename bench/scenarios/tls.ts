/** The proxy over TLS: requests on kept connections, and one full handshake per request. */

import { selfSigned } from "../certificate.ts";
import { catchAllRoute } from "../routes.ts";
import type { RequestShape } from "../load/request-list.ts";
import type { Contender, Stage } from "../stage.ts";
import type { Scenario } from "./scenario.ts";

export const tlsRequests: Scenario = {
  name: "tls",
  title: "Bare proxy over TLS 1.3 on kept connections, 1 KiB answers",
  async run(stage) {
    return stage.closedLoop("tls", await contenders(stage, { target: "/" }));
  },
};

export const tlsHandshakes: Scenario = {
  name: "tls-handshakes",
  title: "A full TLS 1.3 handshake (P-256) and one request per connection",
  async run(stage) {
    return stage.closedLoop(
      "tls-handshakes",
      await contenders(stage, { target: "/", headers: { connection: "close" } }),
    );
  },
};

async function contenders(stage: Stage, request: RequestShape): Promise<Contender[]> {
  const pair = selfSigned(stage.newFolder("certificate"));
  const requests = [request];
  const routes = () => {
    const set = catchAllRoute(stage.originPort);
    return { ...set, base: [...set.base, { path: "ssls/1", body: { sni: "*", ...pair } }] };
  };
  return [
    { name: "nginx", peer: await stage.nginx({ pair }), requests },
    {
      name: "cardea",
      peer: await stage.cardea(`tls ${request.headers?.connection ?? ""}`, routes, { isSecure: true }),
      requests,
    },
  ];
}
