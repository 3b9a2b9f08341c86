/** `cardea explain` asks a real node, whose worker answers. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { main } from "../../src/cli/main.ts";
import { RealNode } from "../promises/real-node.ts";

test("a node tells what it would do with a request, and does nothing", async (t) => {
  const node = await RealNode.start(t);
  const upstream = { nodes: { "127.0.0.1:1": 1 } };
  await node.put("/services/s", { upstream, plugins: { "limit-count": { count: 1, time_window: 60 } } });
  await node.put("/consumers/jack", { username: "jack", plugins: { "key-auth": { key: "canary-of-jack" } } });
  await node.put("/routes/users", {
    uri: "/users/*",
    name: "all users",
    hosts: ["a.com"],
    service_id: "s",
    plugins: { "key-auth": {}, "response-rewrite": { headers: { set: { "x-secret": "canary-route" } } } },
  });
  await node.put("/routes/post", { uri: "/users/*", methods: ["POST"], priority: 1, upstream });

  async function cardea(...argv: string[]) {
    const out: string[] = [];
    const err: string[] = [];
    const code = await main(["explain", ...argv, "--control", node.url("control")], {
      stdout: { write: (text: string) => out.push(text) },
      stderr: { write: (text: string) => err.push(text) },
      env: {},
    });
    return { code, out: out.join(""), err: err.join("") };
  }

  for (let i = 0; i < 3; i++) {
    const { code, out, err } = await cardea("http://a.com/users/7", "-H", "apikey: x", "--route", "post");
    assert.equal(code, 0, err);
    assert.match(out, /^GET a\.com\/users\/7 from 127\.0\.0\.1$/m);
    assert.match(out, /^→ users \(all users\) at a\.com\/users\/\*: takes the request$/m);
    assert.match(
      out,
      /^ {2}post at \/users\/\*: does not match\n {6}methods: given "GET", expected \["POST"\]$/m,
    );
    assert.match(out, /^ {2}key-auth from route#users, priority 2500$/m);
    assert.match(out, /^ {2}limit-count from service#s, priority 1002$/m);
    assert.match(out, /^Upstream service#s: roundrobin over 1 nodes\n {2}node http:\/\/127\.0\.0\.1:1$/m);
    assert.ok(!out.includes("canary"));
  }
  const json = await cardea("/users/7", "--body", "a=1", "--json");
  const explanation = JSON.parse(json.out);
  assert.deepEqual([explanation.request.method, explanation.route.id], ["POST", "post"]);
  const none = await cardea("/none");
  assert.match(none.out, /The gateway answers 404: no route takes the request/);
  const wrong = await cardea("/a", "--client", "here");
  assert.deepEqual([wrong.code, wrong.out], [1, ""]);
  assert.match(wrong.err, /400: client_address: given "here", expected an IP address/);
  assert.equal((await cardea("/a", "-H", "wrong")).code, 2);
});
