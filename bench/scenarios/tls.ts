/** The proxy over TLS: requests on kept connections, and one full handshake per request. */

import { JUDGED_ROW } from "../bars.ts";
import { selfSigned } from "../certificate.ts";
import type { Pair } from "../certificate.ts";
import type { Cardea } from "../peers/cardea.ts";
import { catchAllRoute } from "../routes.ts";
import type { Resource } from "../admin-client.ts";
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

/** A plugin with code in the client hello: the fingerprint is computed, judged and told. */
const FINGERPRINTS: Resource = {
  path: "global_rules/fingerprints",
  body: {
    plugins: { "tls-fingerprint": { deny: ["t13d1516h2_8daaf6152771_e5627efa2ab1"], ja4_header: "X-JA4" } },
  },
};

export const tlsHandshakes: Scenario = {
  name: "tls-handshakes",
  title: "A full TLS 1.3 handshake (P-256) and one request per connection",
  async run(stage) {
    const request = { target: "/", headers: { connection: "close" } };
    const bare = await contenders(stage, request);
    const judging = await secureCardea(stage, "tls with fingerprints", bare[0].pair, [FINGERPRINTS]);
    return stage.closedLoop("tls-handshakes", [
      ...bare,
      { name: JUDGED_ROW, peer: judging, requests: [request] },
    ]);
  },
};

async function contenders(stage: Stage, request: RequestShape): Promise<(Contender & { pair: Pair })[]> {
  const pair = selfSigned(stage.newFolder("certificate"));
  const requests = [request];
  const cardea = await secureCardea(stage, `tls ${request.headers?.connection ?? ""}`, pair);
  return [
    { name: "nginx", peer: await stage.nginx({ pair }), requests, pair },
    { name: "cardea", peer: cardea, requests, pair },
  ];
}

function secureCardea(
  stage: Stage,
  seedName: string,
  pair: Pair,
  more: readonly Resource[] = [],
): Promise<Cardea> {
  const routes = () => {
    const set = catchAllRoute(stage.originPort);
    return { ...set, base: [...set.base, { path: "ssls/1", body: { sni: "*", ...pair } }, ...more] };
  };
  return stage.cardea(seedName, routes, { isSecure: true });
}
