import assert from "node:assert/strict";
import { test } from "node:test";
import { listedService } from "./endpoints.ts";

test("the zone of an endpoint, where its slice says one, is metadata of its node", () => {
  const slice = {
    metadata: { name: "web-1", namespace: "shop", labels: { "kubernetes.io/service-name": "web" } },
    ports: [{ name: "http", port: 8080 }],
    endpoints: [
      { addresses: ["10.0.0.1"], zone: "eu-1a" },
      { addresses: ["10.0.0.2"] },
      { addresses: ["10.0.0.3"], zone: 7 },
    ],
  };
  assert.deepEqual(listedService(slice, true, 50)?.nodes.get("http"), [
    { host: "10.0.0.1", port: 8080, weight: 50, metadata: { zone: "eu-1a" } },
    { host: "10.0.0.2", port: 8080, weight: 50 },
    { host: "10.0.0.3", port: 8080, weight: 50 },
  ]);
});
