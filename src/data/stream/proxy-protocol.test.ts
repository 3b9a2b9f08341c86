/** The PROXY protocol of stream listeners, inwards and outwards. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { eventually } from "../wire-test-kit.ts";
import { echo, everything, node, streamKit, until, upstream } from "./stream-test-kit.ts";

const HEADER = "PROXY TCP4 192.0.2.7 198.51.100.1 4711 443\r\n";

test("who a trusted peer announces is the client: for routes, plugins and the node", async (t) => {
  const kit = await streamKit(t, {
    listener: { proxyProtocol: true, proxyProtocolToUpstream: true },
    realIpFrom: ["127.0.0.0/8"],
  });
  kit.route({ remote_addr: "192.0.2.0/24", upstream: upstream(await node(t, echo)) });
  const client = await kit.client();
  client.write(`${HEADER}hello`);
  const port = kit.port;
  assert.equal(await until(client, "hello"), `PROXY TCP4 192.0.2.7 127.0.0.1 4711 ${port}\r\nhello`);
  client.end();
  await eventually(() => kit.ended.length === 1);
  const [ended] = kit.ended;
  assert.equal(ended.variable("remote_addr"), "192.0.2.7");
  assert.equal(ended.variable("remote_port"), "4711");
  assert.equal(ended.variable("realip_remote_addr"), "127.0.0.1");
});

test("whom nobody trusts may announce what it likes: it stays the client itself", async (t) => {
  const kit = await streamKit(t, { listener: { proxyProtocol: true } });
  kit.route({ remote_addr: "127.0.0.1", upstream: upstream(await node(t, echo)) });
  const client = await kit.client();
  client.write(`${HEADER}hello`);
  assert.equal(await until(client, "hello"), "hello");
  client.end();
  await eventually(() => kit.ended.length === 1);
  assert.equal(kit.ended[0].variable("remote_addr"), "127.0.0.1");
  assert.equal(kit.ended[0].variable("proxy_protocol_addr"), "192.0.2.7");
});

test("who has not sent a header when the port is closed is counted out and closed, too", async (t) => {
  const kit = await streamKit(t, { listener: { proxyProtocol: true } });
  const client = await kit.client();
  client.write("PROXY TC");
  await eventually(() => kit.active() === 1);
  kit.listeners.close();
  assert.equal(kit.active(), 0, "at once, not when its time is over");
  assert.equal((await everything(client)).length, 0);
});

test("without a header, where one is required, the connection is closed", async (t) => {
  const kit = await streamKit(t, { listener: { proxyProtocol: true } });
  kit.route({ upstream: upstream(await node(t, echo)) });
  const client = await kit.client();
  client.write("GET / HTTP/1.1\r\n");
  assert.equal((await everything(client)).length, 0);
  await eventually(() => kit.active() === 0);
});
