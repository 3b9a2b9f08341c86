import assert from "node:assert/strict";
import { test } from "node:test";
import { definePlugin, Type, type ZoneWish } from "../../plugin/index.ts";
import { testGateway } from "../../testing/index.ts";

/** What the balancer of the upstream is asked for. */
async function wishOf(config: object, headers: Record<string, string>): Promise<ZoneWish | null> {
  let wish: ZoneWish | null = null;
  const probe = definePlugin({
    name: "probe",
    version: "1",
    priority: 1,
    config: Type.Object({}),
    compile: () => ({ access: (ctx) => void (wish = ctx.zoneWish) }),
  });
  const gateway = testGateway({
    plugins: [probe],
    routes: [
      { uri: "/*", upstream: { nodes: { "a:80": 1 } }, plugins: { "zone-affinity": config, probe: {} } },
    ],
  });
  assert.equal((await gateway.request({ headers })).status, 200);
  return wish;
}

for (const [config, headers, wish] of [
  [{ zone: "b", mode: "prefer" }, {}, { zone: "b", isOnly: false }],
  [{ zone: "b", mode: "only" }, {}, { zone: "b", isOnly: true }],
  [{ zone: "$http_x_zone", mode: "only" }, { "X-Zone": "c" }, { zone: "c", isOnly: true }],
  [{ zone: "$http_x_zone", mode: "only" }, {}, null],
  [{ zone: "eu-${http_x_zone}", mode: "prefer" }, { "X-Zone": "1" }, { zone: "eu-1", isOnly: false }],
] as const) {
  test(`${JSON.stringify(config)} with ${JSON.stringify(headers)} asks for ${JSON.stringify(wish)}`, async () => {
    assert.deepEqual(await wishOf(config, headers), wish);
  });
}
