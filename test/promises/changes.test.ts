/** P3: changes of configuration and plugins, replaced workers and upgrades lose no request. */

import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { fileURLToPath } from "node:url";
import { namedOrigin, upstreamOf } from "./origins.ts";
import { RealNode } from "./real-node.ts";
import { SteadyLoad } from "./steady-load.ts";

const CHANGES = 400;
const LEAST_ANSWERS = 100;

const replacingLauncher = fileURLToPath(
  new URL("../process/stand-ins/replacing-launcher.ts", import.meta.url),
);

/** Both origins know both routes: who answers the edited one depends on its configuration at that moment. */
function expects(path: string, status: number, body: string): boolean {
  return status === 200 && (body === `a ${path}` || (path === "/edited" && body === `b ${path}`));
}

async function prepare(t: TestContext, node: RealNode) {
  const [a, b] = [await namedOrigin(t, "a"), await namedOrigin(t, "b")];
  await node.put("/upstreams/fixed", upstreamOf(a));
  await node.put("/upstreams/moving", upstreamOf(a));
  await node.put("/services/edited", { upstream_id: "moving" });
  await node.put("/routes/fixed", { uri: "/fixed", upstream_id: "fixed" });
  await node.put("/routes/edited", { uri: "/edited", service_id: "edited" });
  return { a, b };
}

function loadOn(t: TestContext, node: RealNode): SteadyLoad {
  return new SteadyLoad(t, node.port(), { paths: ["/fixed", "/edited"], expects });
}

async function check(load: SteadyLoad): Promise<void> {
  // On a busy machine they may have been few until now.
  await load.reaches(LEAST_ANSWERS);
  await load.stop();
  assert.deepEqual(load.problems, []);
}

test("P3: hundreds of changes of routes, upstreams, services and plugins lose no request", async (t) => {
  const node = await RealNode.start(t);
  const { a, b } = await prepare(t, node);
  const load = loadOn(t, node);
  const limit = (count: number) => ({ "limit-count": { count, time_window: 3600 } });
  const change = async (method: string, path: string, body?: unknown) => {
    const { status, text } = await node.admin(method, path, body);
    assert.ok(status === 200 || status === 201, `${method} ${path}: ${status} ${text}`);
  };
  for (let i = 0; i < CHANGES; i++) {
    const isEven = i % 16 < 8;
    switch (i % 8) {
      case 0:
        await change("PUT", "/upstreams/moving", upstreamOf(isEven ? b : a));
        break;
      case 1:
        await change("PATCH", "/routes/edited", { plugins: limit(1_000_000 + i), priority: i });
        break;
      case 2:
        await change("PUT", `/routes/other-${i}`, { uri: `/other/${i}/*`, upstream: upstreamOf(a) });
        break;
      case 3:
        await change("PATCH", "/services/edited", { plugins: isEven ? { prometheus: {} } : null });
        break;
      case 4:
        await change("PATCH", "/routes/edited", { plugins: null });
        break;
      case 5:
        await change("PUT", "/routes/fixed", { uri: "/fixed", upstream_id: "fixed" });
        break;
      case 6:
        await change("DELETE", `/routes/other-${i - 4}`);
        break;
      default:
        await change("PUT", "/global_rules/all", { plugins: limit(2_000_000 + i) });
    }
  }
  await node.put("/routes/last", { uri: "/last", upstream: upstreamOf(a) });
  await check(load);
  const { workers } = await node.control("/v1/workers");
  assert.deepEqual(
    workers.map(({ generation }: { generation: number }) => generation),
    [1, 1],
  );
});

test("P3: workers that are drained and replaced lose no request", async (t) => {
  const node = await RealNode.start(t, { launcher: [replacingLauncher, "6"] });
  await prepare(t, node);
  const load = loadOn(t, node);
  node.launcher.kill("SIGUSR1");
  await node.logged("all replaced");
  await check(load);
  const { workers } = await node.control("/v1/workers");
  assert.deepEqual(
    workers.map(({ generation }: { generation: number }) => generation),
    [4, 4],
  );
});

test("P3: upgrades to a new process lose no request, and it has the whole configuration", async (t) => {
  const node = await RealNode.start(t);
  await prepare(t, node);
  const load = loadOn(t, node);
  const pids = [node.pid];
  for (let i = 1; i <= 2; i++) {
    node.launcher.kill("SIGUSR2");
    const line = await node.logged("the new node serves, the old one drains", i);
    pids.push(line["new"] as number);
  }
  await node.logged("the old node has ended", 2);
  await check(load);
  assert.equal(new Set(pids).size, 3);
});
