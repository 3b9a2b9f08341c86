import assert from "node:assert/strict";
import { once } from "node:events";
import { type AddressInfo, connect, createServer } from "node:net";
import { networkInterfaces } from "node:os";
import { test, type TestContext } from "node:test";
import { isListenedOn } from "./port-probe.ts";
import { freePort } from "../../test/ports/free-port.ts";

async function listenerOn(t: TestContext, host: string, reusePort: boolean): Promise<number> {
  const server = createServer().listen({ host, port: 0, reusePort });
  await once(server, "listening");
  t.after(() => server.close());
  return (server.address() as AddressInfo).port;
}

const canBalance = process.platform !== "darwin";
const hasIpv6 = Object.values(networkInterfaces()).some((each) =>
  each!.some(({ address }) => address === "::1"),
);

function skipOf(host: string): string | false {
  return host === "::1" && !hasIpv6 ? "this machine has no IPv6" : false;
}

for (const [host, probed, reusePort] of [
  ["127.0.0.1", "127.0.0.1", false],
  ["127.0.0.1", "127.0.0.1", canBalance],
  ["0.0.0.0", "127.0.0.1", canBalance],
  ["127.0.0.1", "0.0.0.0", canBalance],
  ["::1", "::1", canBalance],
] as const) {
  test(
    `who listens on ${host}${reusePort ? " with reusePort" : ""} is noticed on ${probed}`,
    { skip: skipOf(probed) },
    async (t) => {
      assert.equal(await isListenedOn(probed, await listenerOn(t, host, reusePort)), true);
    },
  );
}

for (const host of ["127.0.0.1", "0.0.0.0", "::1"]) {
  test(
    `a free port of ${host} is free, and still is after it was asked about`,
    { skip: skipOf(host) },
    async (t) => {
      const port = await freePort();
      assert.equal(await isListenedOn(host, port), false);
      assert.equal(await isListenedOn(host, port), false);
      const server = createServer().listen({ host, port });
      t.after(() => server.close());
      await once(server, "listening");
    },
  );
}

test("clients that come meanwhile are refused, and none is taken and reset", async () => {
  const port = await freePort();
  let isDone = false;
  const probes = (async () => {
    for (let i = 0; i < 100; i++) assert.equal(await isListenedOn("127.0.0.1", port), false);
    isDone = true;
  })();
  const outcomes = new Set<string | undefined>();
  while (!isDone) {
    const client = connect(port, "127.0.0.1");
    const outcome = await Promise.race([
      once(client, "connect").then(() => "connected"),
      once(client, "error").then(([error]) => (error as NodeJS.ErrnoException).code),
    ]).catch((error: NodeJS.ErrnoException) => error.code);
    outcomes.add(outcome);
    client.destroy();
  }
  await probes;
  assert.deepEqual([...outcomes], ["ECONNREFUSED"]);
});
