/** Names that a stranger made point at the node: APIs without a key do not answer under them. */

import assert from "node:assert/strict";
import { once } from "node:events";
import { type IncomingMessage, request } from "node:http";
import { after, before, test } from "node:test";
import type { AddressInfo } from "node:net";
import { HostCheck } from "../../src/api/host-check.ts";
import { MetricsPage } from "../../src/api/metrics/page.ts";
import { createMetricsServer } from "../../src/api/metrics/server.ts";
import { KEY, TestNode } from "./node.ts";

const FOREIGN = "rebound.example.org";
let open: TestNode;
let keyed: TestNode;

before(async () => {
  open = await new TestNode({ keyRequired: false }).start();
  keyed = await new TestNode().start();
});
after(async () => {
  await open.dispose();
  await keyed.dispose();
});

/** `fetch` sets `Host` by itself. */
async function ask(url: string, host: string, headers = {}): Promise<[status: number, text: string]> {
  const asked = request(url, { headers: { host, ...headers }, agent: false }).end();
  const [response] = (await once(asked, "response")) as [IncomingMessage];
  let text = "";
  for await (const chunk of response.setEncoding("utf8")) text += chunk;
  return [response.statusCode!, text];
}

test("the Control API answers 403 under a foreign name, and 200 under an address or localhost", async () => {
  const url = `${keyed.controlUrl}/v1/routes`;
  const [status, text] = await ask(url, `${FOREIGN}:9090`);
  assert.equal(status, 403);
  assert.match(text, /"the Host rebound\.example\.org is not known here: .*cardea\.private_hosts"/);
  for (const host of ["127.0.0.1:9090", "localhost", "[::1]"]) assert.equal((await ask(url, host))[0], 200);
});

test("the metrics page does, too", async () => {
  const facts = () => ({ prefix: "apisix_", hostname: "h", version: "1" });
  const page = new MetricsPage(keyed.shared, facts);
  const server = createMetricsServer(page, "/metrics", new HostCheck(["*.svc"])).listen(0, "127.0.0.1");
  await once(server, "listening");
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/metrics`;
  assert.equal((await ask(url, FOREIGN))[0], 403);
  assert.equal((await ask(url, "cardea.svc:9091"))[0], 200);
  server.close();
  server.closeAllConnections();
});

test("the Admin API asks for the name only where it asks for no key", async () => {
  assert.equal((await ask(`${open.url}/apisix/admin/routes`, FOREIGN))[0], 403);
  assert.equal((await ask(`${open.url}/apisix/admin/routes`, "localhost"))[0], 200);
  assert.equal((await ask(`${keyed.url}/apisix/admin/routes`, FOREIGN, { "x-api-key": KEY }))[0], 200);
});
