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

/** Places that take a pattern: the fields of a route that hold it there. */
interface Place {
  name: string;
  /** Left out on a node that does not have it. */
  plugin?: string;
  route: (pattern: string) => object;
}

const PLACES: readonly Place[] = [
  { name: "condition on the query", route: (pattern) => ({ vars: [["arg_text", "~~", pattern]] }) },
  { name: "condition that ignores case", route: (pattern) => ({ vars: [["arg_text", "~*", pattern]] }) },
  { name: "condition on a header", route: (pattern) => ({ vars: [["http_x_text", "~~", pattern]] }) },
  { name: "condition on the path", route: (pattern) => ({ vars: [["uri", "~~", pattern]] }) },
  inPlugin("proxy-rewrite", (pattern) => ({ regex_uri: [pattern, "/x"] })),
  inPlugin("redirect", (pattern) => ({ regex_uri: [pattern, "/x"] })),
  inPlugin("uri-blocker", (pattern) => ({ block_rules: [pattern] })),
  inPlugin("ua-restriction", (pattern) => ({ denylist: [pattern] })),
  inPlugin("response-rewrite", (pattern) => ({
    filters: [{ regex: pattern, replace: "x", scope: "global" }],
  })),
];

function inPlugin(plugin: string, config: (pattern: string) => object): Place {
  return { name: plugin, plugin, route: (pattern) => ({ plugins: { [plugin]: config(pattern) } }) };
}

test("P9a: catastrophic patterns in routes hang no worker: all others are served", async (t) => {
  const node = await RealNode.start(t, {
    change: (config) => {
      // One worker that hangs would be all, and would be replaced: its generation tells.
      config.workers = 1;
      config.groups = [{ name: "default", workers: 1 }];
      config.supervision.staleAfterMs = 5000;
    },
  });
  const upstream = upstreamOf(await namedOrigin(t, "origin"));
  await node.put("/routes/plain", { uri: "/plain", upstream });
  const load = new SteadyLoad(t, node.port(), {
    paths: ["/plain"],
    expects: (_path, status) => status === 200,
    keptAlive: 4,
    fresh: 2,
  });
  const plugins = (await node.admin("GET", "/plugins/list")).body as string[];
  const places = PLACES.filter(({ plugin }) => plugin === undefined || plugins.includes(plugin));
  let accepted = 0;
  for (const [i, [pattern, text]] of CATASTROPHIC.entries()) {
    for (const [j, { name, route }] of places.entries()) {
      const path = `/p${i}-${j}`;
      const body = Object.assign({ uri: `${path}/*`, upstream }, route(pattern));
      const reply = await node.admin("PUT", `/routes${path}?wait=live`, body);
      if (reply.status === 400) {
        assert.match(reply.body.error_msg, /./, `${pattern} in ${name}`);
        continue;
      }
      assert.equal(reply.status, 201, reply.text);
      accepted++;
      const hostile = `${text}!`;
      const answer = await fetch(`${node.url()}${path}/${hostile}?text=${hostile}`, {
        headers: { "x-text": hostile, "user-agent": hostile },
        redirect: "manual",
      });
      await answer.text();
      assert.ok([200, 302, 403, 404].includes(answer.status), `${pattern} in ${name}: ${answer.status}`);
    }
  }
  await load.stop();
  assert.deepEqual(load.problems, []);
  t.diagnostic(`${accepted} of ${CATASTROPHIC.length * places.length} accepted, the others refused at write`);
  assert.equal((await node.control("/v1/workers")).workers[0].generation, 1);
});
