/** A whole node whose certificate changes again and again while clients come and stay: no handshake, no request is lost. */

import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { Agent, request } from "node:https";
import { createServer as createHttpServer } from "node:http";
import type { AddressInfo } from "node:net";
import { test, type TestContext } from "node:test";
import type { TLSSocket } from "node:tls";
import { RealNode, withTls } from "../promises/real-node.ts";
import { Authority, hasOpenssl, type Pair } from "./certificate-authority.ts";

const CHANGES = 40;
const CLIENTS = 4;

async function origin(t: TestContext): Promise<number> {
  const server = createHttpServer((_, response) => response.end("served"));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", () => resolve()));
  t.after(() => server.close());
  return (server.address() as AddressInfo).port;
}

interface Answer {
  status: number | undefined;
  serial: string;
}

function ask(port: number, ca: string, agent: Agent): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const asked = request({
      host: "127.0.0.1",
      port,
      servername: "a.com",
      headers: { host: "a.com" },
      ca,
      agent,
    });
    asked.on("error", reject);
    asked.on("response", (response) => {
      const { socket } = response as unknown as { socket: TLSSocket };
      const serial = socket.getPeerX509Certificate()?.serialNumber ?? "";
      response.resume();
      response.on("end", () => resolve({ status: response.statusCode, serial }));
    });
    asked.end();
  });
}

test(
  "a certificate that changes under load costs no handshake and no request, and the last one is what new clients see",
  { skip: hasOpenssl ? false : "there is no openssl" },
  async (t) => {
    const upstream = { nodes: { [`127.0.0.1:${await origin(t)}`]: 1 } };
    const node = await RealNode.start(t, {
      change: await withTls(),
    });
    const ca = Authority.make(t);
    const pairs: Pair[] = [0, 1, 2].map((i) =>
      ca.issue({ names: ["a.com"], algorithm: i === 1 ? "rsa" : "ec" }),
    );
    await node.put("/routes/1", { uri: "/*", upstream });
    await node.put("/ssls/1", { sni: "a.com", ...pairs[0] });
    const port = node.port("https");
    let isOver = false;
    const answers: Answer[] = [];
    const load = async (keepAlive: boolean): Promise<void> => {
      const agent = new Agent({ keepAlive, maxSockets: 1 });
      while (!isOver) answers.push(await ask(port, ca.pair.cert, agent));
      agent.destroy();
    };
    const clients = Array.from({ length: CLIENTS }, (_, i) => load(i % 2 === 0));
    for (let i = 1; i <= CHANGES; i++)
      await node.put("/ssls/1", { sni: "a.com", ...pairs[i % pairs.length] });
    isOver = true;
    await Promise.all(clients);
    assert.ok(answers.length > CHANGES);
    assert.deepEqual(
      answers.filter(({ status }) => status !== 200),
      [],
    );
    assert.ok(new Set(answers.map(({ serial }) => serial)).size > 1);
    const last = new X509Certificate(pairs[CHANGES % pairs.length].cert).serialNumber;
    assert.equal((await ask(port, ca.pair.cert, new Agent())).serial, last);

    const page = await (await fetch(`${node.url("metrics")}/apisix/prometheus/metrics`)).text();
    assert.match(page, /^apisix_ssl_expires_in_seconds\{ssl="1",sni="a\.com"\} \d+$/m);
    assert.match(page, /^apisix_tls_handshakes_total\{result="success"\} \d+$/m);
    assert.doesNotMatch(page, /result="(?!success|closed)/);
  },
);
