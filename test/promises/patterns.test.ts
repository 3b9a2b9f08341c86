/** P9a: patterns cannot hang a worker: catastrophic ones are refused at write, or run in bounded time. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { namedOrigin, upstreamOf } from "./origins.ts";
import { RealNode } from "./real-node.ts";
import { SteadyLoad } from "./steady-load.ts";

/** Each with the text that makes a backtracking matcher try some 2^n or n^k ways. */
const CATASTROPHIC: readonly (readonly [pattern: string, text: string])[] = [
  ["^(a+)+$", "a".repeat(60)],
  ["^(a|a)*$", "a".repeat(60)],
  ["^(a|aa)+$", "a".repeat(120)],
  ["^(.*a){20}$", "a".repeat(120)],
  ["(x+x+)+y", "x".repeat(400)],
  ["^([a-z]+)*[0-9]$", "a".repeat(400)],
  ["^(([a-z])+.)+[A-Z]([a-z])+$", "a".repeat(400)],
  ["(.*)(.*)(.*)(.*)(.*)(.*)=", "a".repeat(800)],
  ["^(a?){60}a{60}$", "a".repeat(59)],
];

/** Places of a resource that take a pattern. */
const PLACES: readonly { name: string; vars: (pattern: string) => unknown }[] = [
  { name: "of the query", vars: (pattern) => ["arg_text", "~~", pattern] },
  { name: "that ignores case", vars: (pattern) => ["arg_text", "~*", pattern] },
  { name: "of a header", vars: (pattern) => ["http_x_text", "~~", pattern] },
];

test(
  "P9a: catastrophic patterns in routes hang no worker: all others are served",
  { timeout: 60_000 },
  async (t) => {
    const node = await RealNode.start(t, {
      change: (config) => {
        // One worker that hangs would be all, and would be replaced: its generation tells.
        config.workers = 1;
        config.groups = [{ name: "default", workers: 1 }];
        config.supervision.staleAfterMs = 2000;
      },
    });
    const upstream = upstreamOf(await namedOrigin(t, "origin"));
    await node.put("/routes/plain", { uri: "/plain", upstream });
    const load = new SteadyLoad(node.port(), {
      paths: ["/plain"],
      expects: (_path, status) => status === 200,
      keptAlive: 4,
      fresh: 2,
    });
    let accepted = 0;
    for (const [i, [pattern, text]] of CATASTROPHIC.entries()) {
      for (const [j, { name, vars }] of PLACES.entries()) {
        const uri = `/p${i}-${j}`;
        const body = { uri, vars: [vars(pattern)], upstream };
        const reply = await node.admin("PUT", `/routes${uri}?wait=live`, body);
        if (reply.status === 400) {
          assert.match(reply.body.error_msg, /./, `${pattern} ${name}`);
          continue;
        }
        assert.equal(reply.status, 201, reply.text);
        accepted++;
        const hostile = `${text}!`;
        const { status } = await node.get(`${uri}?text=${hostile}`, { "x-text": hostile });
        assert.ok([200, 404].includes(status), `${pattern} ${name}: ${status}`);
      }
    }
    await load.stop();
    assert.deepEqual(load.problems, []);
    t.diagnostic(
      `${accepted} of ${CATASTROPHIC.length * PLACES.length} accepted, the others refused at write`,
    );
    assert.equal((await node.control("/v1/workers")).workers[0].generation, 1);
  },
);
