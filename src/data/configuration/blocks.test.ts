import assert from "node:assert/strict";
import { test } from "node:test";
import type { PublishedBlock } from "../../model/published.ts";
import { testGateway, type TestGateway } from "../../testing/index.ts";
import { Blocks, type Blockable } from "./blocks.ts";

const NODES = { nodes: { "a:80": 1 } };

function gateway(): TestGateway {
  return testGateway({
    services: [{ id: "s", upstream: NODES }],
    consumers: [
      { username: "jack", plugins: { "key-auth": { key: "jack-key" } } },
      { username: "jill", plugins: { "key-auth": { key: "jill-key" } } },
    ],
    routes: [
      { id: "1", uri: "/one", upstream: NODES },
      { id: "2", uri: "/two", service_id: "s" },
      { id: "3", uri: "/keyed", plugins: { "key-auth": {} }, upstream: NODES },
      { id: "4", uri: "/behind", plugins: { "real-ip": { source: "http_x_real_ip" } }, upstream: NODES },
    ],
  });
}

const one = { target: "/one" };
const two = { target: "/two" };
const from = (address: string) => ({ target: "/one", address });
const keyed = (key: string) => ({ target: "/keyed", headers: { apikey: key } });
const behind = (address: string) => ({ target: "/behind", headers: { "X-Real-IP": address } });

for (const [block, blocked, open] of [
  [{ route_id: "1" }, one, two],
  [{ service_id: "s" }, two, one],
  [{ addresses: ["10.0.0.0/8", "::1"] }, from("10.1.2.3"), from("11.1.2.3")],
  [{ addresses: ["10.0.0.0/8", "::1"] }, from("::1"), from("::2")],
  [{ addresses: ["10.0.0.1"] }, { target: "/unknown", address: "10.0.0.1" }, from("10.0.0.2")],
  [{ consumer: "jack" }, keyed("jack-key"), keyed("jill-key")],
  [{ addresses: ["10.0.0.1"] }, behind("10.0.0.1"), behind("10.0.0.2")],
  [{ route_id: "1", addresses: ["10.0.0.1"] }, from("10.0.0.1"), { target: "/two", address: "10.0.0.1" }],
  [{ route_id: "1", addresses: ["10.0.0.1"] }, from("10.0.0.1"), from("10.0.0.2")],
  [{ route_id: "3", consumer: "jack" }, keyed("jack-key"), keyed("jill-key")],
] as const) {
  test(`${JSON.stringify(block)} refuses ${JSON.stringify(blocked)} and not ${JSON.stringify(open)}, until it is gone`, async () => {
    const gate = gateway();
    gate.put("block", "b", block);
    const answer = await gate.request(blocked);
    assert.equal(answer.status, 403);
    assert.deepEqual(JSON.parse(answer.text), { error_msg: "blocked" });
    assert.equal((await gate.request(open)).status, 200);
    gate.put("block", "b", null);
    assert.notEqual((await gate.request(blocked)).status, 403);
  });
}

test("status and body of the answer can be chosen", async () => {
  const gate = gateway();
  gate.put("block", "b", { route_id: "1", status: 451, body: "no" });
  const answer = await gate.request(one);
  assert.equal(answer.status, 451);
  assert.equal(answer.text, "no");
  assert.match(answer.headers.get("content-type")!, /^text\/plain/);
});

test("an edited block holds as it is now, and nothing of it as it was", async () => {
  const gate = gateway();
  gate.put("block", "b", { route_id: "1" });
  gate.put("block", "b", { service_id: "s" });
  assert.equal((await gate.request(one)).status, 200);
  assert.equal((await gate.request(two)).status, 403);
});

test("of several blocks the narrowest answers, and the others stay when it goes", async () => {
  const gate = gateway();
  gate.put("block", "a", { addresses: ["0.0.0.0/0"], status: 401 });
  gate.put("block", "b", { addresses: ["127.0.0.1"], route_id: "1", status: 402 });
  assert.equal((await gate.request(one)).status, 402);
  assert.equal((await gate.request(two)).status, 401);
  gate.put("block", "b", null);
  assert.equal((await gate.request(one)).status, 401);
});

test("no plugin of the route runs for what is blocked", async () => {
  const gate = gateway();
  gate.put("block", "b", { route_id: "3" });
  assert.equal((await gate.request({ target: "/keyed" })).status, 403);
});

function published(more: object): PublishedBlock {
  return { id: "b", status: 403, close_connections: false, ...more };
}

const client: Blockable = {
  route: { id: "1", serviceId: undefined },
  consumer: null,
  client: { address: "10.0.0.1" },
};

test("a block ends at its expiry", () => {
  const blocks = Blocks.with(null, "b", published({ route_id: "1", expiry: 1000 }));
  assert.equal(blocks.answerFor(client, 999_999)?.status, 403);
  assert.equal(blocks.answerFor(client, 1_000_000), undefined);
});

test("only blocks that say so close what is open", () => {
  const quiet = Blocks.with(null, "b", published({ addresses: ["10.0.0.1"] }));
  assert.equal(quiet.closes(client, 0), false);
  const closing = Blocks.with(quiet, "c", published({ addresses: ["10.0.0.0/8"], close_connections: true }));
  assert.equal(closing.closes(client, 0), true);
});

test("without a block there is nothing to ask", () => {
  const blocks = Blocks.with(null, "b", published({ route_id: "1" }));
  assert.equal(Blocks.without(blocks, "other"), blocks);
  assert.equal(Blocks.without(blocks, "b"), null);
  assert.equal(Blocks.without(null, "b"), null);
});

test("blocks agree with a look at each of them, for any of them", () => {
  const random = mulberry(7);
  const pick = <T>(values: readonly T[]): T => values[Math.floor(random() * values.length)];
  const current = new Map<string, PublishedBlock>();
  let blocks: Blocks | null = null;
  for (let step = 0; step < 3000; step++) {
    const id = String(Math.floor(random() * 12));
    if (random() < 0.3) {
      current.delete(id);
      blocks = Blocks.without(blocks, id);
    } else {
      const block = published({
        ...(random() < 0.5 && { route_id: pick(["1", "2"]) }),
        ...(random() < 0.4 && { service_id: pick(["s", "t"]) }),
        ...(random() < 0.4 && { consumer: pick(["jack", "jill"]) }),
        addresses: [pick(["10.0.0.1", "10.0.0.0/31", "0.0.0.0/0"])],
      });
      current.set(id, block);
      blocks = Blocks.with(blocks, id, block);
    }
    const x: Blockable = {
      route: random() < 0.2 ? null : { id: pick(["1", "2", "3"]), serviceId: pick(["s", "t", undefined]) },
      consumer: random() < 0.5 ? null : { username: pick(["jack", "jill", "joe"]) },
      client: { address: pick(["10.0.0.0", "10.0.0.1", "10.0.0.2"]) },
    };
    const expected = [...current.values()].some((block) => holds(block, x));
    assert.equal(
      blocks !== null && blocks.answerFor(x, 0) !== undefined,
      expected,
      JSON.stringify({ step, x }),
    );
  }
});

const RANGES: Record<string, readonly string[]> = {
  "10.0.0.1": ["10.0.0.1"],
  "10.0.0.0/31": ["10.0.0.0", "10.0.0.1"],
  "0.0.0.0/0": ["10.0.0.0", "10.0.0.1", "10.0.0.2"],
};

function holds(block: PublishedBlock, x: Blockable): boolean {
  return (
    (block.route_id === undefined || block.route_id === x.route?.id) &&
    (block.service_id === undefined || block.service_id === x.route?.serviceId) &&
    (block.consumer === undefined || block.consumer === x.consumer?.username) &&
    (block.addresses === undefined ||
      block.addresses.some((range) => RANGES[range].includes(x.client.address)))
  );
}

function mulberry(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d_2b_79_f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

test("a block that cannot be used leaves the one that was in its place", () => {
  const published = { status: 403, close_connections: false, addresses: ["10.0.0.1"] } as PublishedBlock;
  const blocks = Blocks.with(null, "1", published);
  assert.throws(() => Blocks.with(blocks, "1", { ...published, addresses: ["nowhere"] }), RangeError);
  const x: Blockable = { route: null, consumer: null, client: { address: "10.0.0.1" } };
  assert.equal(blocks.answerFor(x, 0)?.status, 403);
});
