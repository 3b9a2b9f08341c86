import assert from "node:assert/strict";
import { test } from "node:test";
import { parseStaticConfig } from "../config/load.ts";
import { groupsBySlot, isGuard, planSockets } from "./socket-plan.ts";

function config() {
  const { config } = parseStaticConfig("(test)", "", {});
  config.groups = [
    { name: "default", workers: 2 },
    { name: "tenant", workers: 1 },
  ];
  const rest = { address: "0.0.0.0", proxyProtocol: false };
  config.listeners = [
    { purpose: "http", port: 80, group: "default", ...rest },
    { purpose: "https", port: 443, group: "tenant", ...rest },
    { purpose: "admin", port: 9180, group: "", ...rest },
  ];
  return config;
}

test("slots are numbered over all groups", () => {
  assert.deepEqual(groupsBySlot(config()), ["default", "default", "tenant"]);
});

test("each slot of a listener's group has a socket of its own, and control has one per port", () => {
  const sockets = planSockets(config(), true).filter((socket) => !isGuard(socket));
  assert.deepEqual(
    sockets.map(({ port, slots }) => [port, slots]),
    [
      [80, [0]],
      [80, [1]],
      [443, [2]],
      [9180, [-1]],
    ],
  );
});

test("without balancing in the kernel the workers of a group share one socket", () => {
  const sockets = planSockets(config(), false);
  assert.deepEqual(
    sockets.map(({ port, slots }) => [port, slots]),
    [
      [80, [0, 1]],
      [443, [2]],
      [9180, [-1]],
    ],
  );
});

test("keys are distinct, and do not change with what the threads make of a socket", () => {
  const before = planSockets(config(), true).map((socket) => socket.key);
  assert.equal(new Set(before).size, before.length);
  const changed = config();
  for (const listener of changed.listeners) listener.proxyProtocol = true;
  changed.listeners[0].purpose = "https";
  assert.deepEqual(
    planSockets(changed, true).map((socket) => socket.key),
    before,
  );
});

test("a tenant's sockets are its own, with slots from 0; the guard of a port is the same whosever the port is", () => {
  const of = (name: string) => {
    const { config: node } = parseStaticConfig(
      "(test)",
      `cardea: { tenants: [{ name: ${name}, listen: [{ port: 81 }] }] }`,
      {},
    );
    return planSockets(node, true).filter(({ port }) => port === 81);
  };
  const [a, b] = [of("a"), of("b")];
  const served = a.filter((socket) => !isGuard(socket));
  assert.deepEqual(
    served.map(({ tenant, slots }) => [tenant, slots]),
    [["a", [0]]],
  );
  assert.notEqual(served[0].key, b.find((socket) => !isGuard(socket))?.key);
  assert.deepEqual(
    a.filter(isGuard).map(({ key }) => key),
    b.filter(isGuard).map(({ key }) => key),
  );
});
