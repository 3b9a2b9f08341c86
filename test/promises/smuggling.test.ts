/**
 * P1: what is forwarded has one reading. Every shape of the table that is forwarded goes through a real node to
 * several real origins, with a second request right behind it on the same connection: the origin must have counted
 * as many requests as the gateway forwarded, shape by shape.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { REQUEST_SHAPES } from "../shapes/requests.ts";
import { ORIGIN_KINDS } from "./external-origins.ts";
import { RealNode } from "./real-node.ts";
import { WireConnection } from "./wire-answers.ts";

const FORWARDED = REQUEST_SHAPES.filter(({ verdict }) => !("status" in verdict));

/** How many requests of this connection were forwarded: the gateway says so in every answer of an upstream. */
async function send(
  port: number,
  raw: string,
  behind: string,
): Promise<{ forwarded: number; statuses: number[] }> {
  const connection = await WireConnection.open(port);
  connection.send(raw + behind);
  const statuses: number[] = [];
  let forwarded = 0;
  for (let i = 0; i < (behind === "" ? 1 : 2); i++) {
    const answer = await connection.answer(i === 0 && /^(\r\n)?HEAD /.test(raw));
    if (answer === null) break;
    statuses.push(answer.status);
    const upstream = answer.headers.get("x-apisix-upstream-status");
    if (upstream !== undefined) forwarded += upstream.split(",").length;
  }
  connection.close();
  return { forwarded, statuses };
}

function get(path: string): string {
  return `GET ${path} HTTP/1.1\r\nHost: marker.example\r\n\r\n`;
}

for (const { name, skip, start } of ORIGIN_KINDS) {
  test(`P1: ${name} counts every forwarded shape as the gateway does`, { skip }, async (t) => {
    const origin = await start(t);
    const node = await RealNode.start(t, {
      change: (config) => {
        config.workers = 1;
        config.groups = [{ name: "default", workers: 1 }];
        config.http.showUpstreamStatus = true;
      },
    });
    const upstream = { type: "roundrobin", nodes: { [origin.address]: 1 }, retries: 0 };
    await node.put("/routes/all", { uri: "/*", upstream, enable_websocket: true });

    const wrong: string[] = [];
    let total = 0;
    for (const [i, { name: shape, raw }] of FORWARDED.entries()) {
      const { forwarded, statuses } = await send(node.port(), raw, get(`/behind/${i}`));
      total += forwarded;
      // Whatever the shape may have left in a connection to the origin is in front of this one.
      const fence = await send(node.port(), get(`/fence/${i}`), "");
      total += fence.forwarded;
      if (statuses.includes(502) || fence.statuses[0] === 502 || fence.statuses.length === 0) {
        wrong.push(`${shape}: answers ${statuses.join()}, then ${fence.statuses.join()}`);
      }
    }
    // A request is logged at its end, which may come after its answer: the last one tells that all are there.
    for (let tries = 0; origin.lines().length < total && tries < 200; tries++) {
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    const lines = origin.lines();
    assert.deepEqual(wrong, []);
    assert.equal(lines.length, total, "requests of the origin, and forwarded ones");
    assert.ok(total > 2 * FORWARDED.length, "most shapes are forwarded, and all fences are");
    for (const [i, { name: shape }] of FORWARDED.entries()) {
      const fences = lines.filter((line) => line.startsWith(`GET /fence/${i} `));
      assert.equal(fences.length, 1, `the request behind "${shape}"`);
    }
  });
}
