import assert from "node:assert/strict";
import { test } from "node:test";
import { PluginCatalog } from "../plugins/catalog.ts";
import { checkPlugins } from "./plugin-check.ts";
import { blockType } from "./block.ts";
import { streamRouteType } from "./stream-route.ts";
import { validateResource } from "./validate.ts";

const context = { plugins: new PluginCatalog(null) };

for (const field of ["remote_addr", "server_addr"]) {
  test(`${field}: what looks like a CIDR and is none is refused by its value`, () => {
    for (const given of [":/8", "10.0.0.300/8", "10.0.0.0/33"]) {
      const error = validateResource(streamRouteType, { [field]: given }, context, "1");
      assert.deepEqual(error, { message: `invalid ${field}: ${given}`, pointer: `/${field}` });
    }
    assert.equal(validateResource(streamRouteType, { [field]: "10.0.0.0/8" }, context, "1"), null);
    assert.equal(validateResource(streamRouteType, { [field]: "::1" }, context, "1"), null);
  });
}

test("a broken plugin of a stream route is named as one for streams", () => {
  const error = checkPlugins({ "mqtt-proxy": {} }, "stream", context.plugins);
  assert.match(error!.message, /^failed to check the configuration of stream plugin \[mqtt-proxy\]: /);
});

test("a block names a route or a stream route, since nothing comes by both", () => {
  const error = validateResource(blockType, { route_id: "1", stream_route_id: "1" }, context, "1");
  assert.equal(error?.pointer, "/stream_route_id");
  assert.equal(validateResource(blockType, { stream_route_id: "1" }, context, "1"), null);
});
