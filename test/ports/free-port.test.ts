import assert from "node:assert/strict";
import { spawn, type ChildProcess } from "node:child_process";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { createServer } from "node:net";
import { test, type TestContext } from "node:test";
import { freePort, freePorts, portsOutside } from "./free-port.ts";

const MODULE = new URL("free-port.ts", import.meta.url).href;

/** Takes ports, tells them, and stays. */
async function takeElsewhere(
  t: TestContext,
  count: number,
): Promise<{ child: ChildProcess; ports: number[] }> {
  const program = `
    import { freePorts } from ${JSON.stringify(MODULE)};
    console.log(JSON.stringify(await freePorts(${count})));
    process.stdin.on("end", () => process.exit()).resume();`;
  const child = spawn(process.execPath, ["--input-type=module", "-e", program], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  t.after(() => child.kill("SIGKILL"));
  const [line] = (await once(child.stdout, "data")) as [Buffer];
  return { child, ports: JSON.parse(line.toString()) as number[] };
}

test("no port is given twice, in one process, at once, or in several", async (t) => {
  const own = await freePorts(100);
  const others = await Promise.all([takeElsewhere(t, 10), takeElsewhere(t, 10), takeElsewhere(t, 10)]);
  const all = [own, await freePorts(10), ...others.map(({ ports }) => ports)].flat();
  assert.equal(new Set(all).size, all.length);
});

test("a port on which somebody listens is passed over, whatever the address and the protocol", async (t) => {
  const before = await freePort();
  const takers = ["127.0.0.1", "127.0.0.2", "0.0.0.0"].map((host, i) =>
    createServer().listen(before + 1 + i, host),
  );
  const udp = createSocket("udp4").bind(before + 4, "127.0.0.1");
  t.after(() => {
    for (const taker of takers) taker.close();
    udp.close();
  });
  await Promise.all([...takers, udp].map((taker) => once(taker, "listening")));
  assert.ok((await freePort()) > before + 4);
});

for (const [name, range, expected] of [
  ["Linux", [32_768, 60_999], [10_000, 32_767]],
  ["IANA", [49_152, 65_535], [10_000, 49_151]],
  ["many connections", [1_024, 60_999], [61_000, 65_535]],
  ["all", [1_024, 65_535], [10_000, 32_767]],
] as const) {
  test(`they are outside of the range of the system: ${name}`, () => {
    assert.deepEqual(portsOutside(range), expected);
  });
}
