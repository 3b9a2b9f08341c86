import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { StreamRouter, type StreamFactsToMatch, type StreamMatcher } from "./stream-router.ts";

const HERE: StreamFactsToMatch = {
  remoteAddress: "10.0.0.1",
  serverAddress: "127.0.0.1",
  serverPort: 9100,
  serverName: null,
};

function routerOf(matchers: Partial<StreamMatcher>[]): StreamRouter<string> {
  const router = new StreamRouter<string>();
  for (const [i, matcher] of matchers.entries()) {
    const id = matcher.id ?? String(i);
    router.insert({ created: i, ...matcher, id }, id);
  }
  return router;
}

const CASES: [
  name: string,
  matchers: Partial<StreamMatcher>[],
  facts: Partial<StreamFactsToMatch>,
  expected: string | null,
][] = [
  ["a route without conditions takes everything", [{}], {}, "0"],
  ["without a route there is none", [], {}, null],
  ["another port does not match", [{ server_port: 9101 }], {}, null],
  ["the port matches", [{ server_port: 9101 }, { server_port: 9100 }], {}, "1"],
  ["the older of two that match counts, with a port or without", [{}, { server_port: 9100 }], {}, "0"],
  [
    "a client's address matches a range",
    [{ remote_addr: "10.1.0.0/16" }, { remote_addr: "10.0.0.0/16" }],
    {},
    "1",
  ],
  ["the server's address matches", [{ server_addr: "127.0.0.2" }, { server_addr: "127.0.0.1" }], {}, "1"],
  ["all conditions must hold", [{ server_port: 9100, remote_addr: "10.9.0.0/16" }], {}, null],
  ["a server name is needed where one is named", [{ sni: "a.com" }], {}, null],
  [
    "a server name matches before older routes without one",
    [{}, { sni: "a.com" }],
    { serverName: "a.com" },
    "1",
  ],
  [
    "an exact name comes before a wildcard",
    [{ sni: "*.a.com" }, { sni: "b.a.com" }],
    { serverName: "b.a.com" },
    "1",
  ],
  ["the longer wildcard comes first", [{ sni: "*.com" }, { sni: "*.a.com" }], { serverName: "b.a.com" }, "1"],
  ["a wildcard takes several labels", [{ sni: "*.a.com" }], { serverName: "c.b.a.com" }, "0"],
  ["a wildcard does not take the name itself", [{ sni: "*.a.com" }], { serverName: "a.com" }, null],
  [
    "a name whose other conditions fail falls to the wildcard",
    [{ sni: "*.a.com" }, { sni: "b.a.com", server_port: 1 }],
    { serverName: "b.a.com" },
    "0",
  ],
  ["and to routes without a name", [{ sni: "b.a.com", server_port: 1 }, {}], { serverName: "b.a.com" }, "1"],
];

for (const [name, matchers, facts, expected] of CASES) {
  test(name, () => assert.equal(routerOf(matchers).find({ ...HERE, ...facts }), expected));
}

test("a route that is replaced or deleted is gone from where it was", () => {
  const router = routerOf([{ sni: "a.com" }, { server_port: 9100 }]);
  router.insert({ id: "1", created: 1, server_port: 9101 }, "1");
  assert.equal(router.find(HERE), null);
  router.delete("0");
  assert.equal(router.find({ ...HERE, serverName: "a.com" }), null);
  assert.equal(router.find({ ...HERE, serverPort: 9101 }), "1");
});

test("inserts and deletes in any order find what a scan over all routes finds", () => {
  const matcher = fc.record(
    {
      id: fc.constantFrom("a", "b", "c", "d", "e"),
      created: fc.nat(3),
      server_port: fc.constantFrom(1, 2),
      remote_addr: fc.constantFrom("10.0.0.0/8", "11.0.0.1"),
    },
    { requiredKeys: ["id", "created"] },
  );
  fc.assert(
    fc.property(fc.array(fc.tuple(matcher, fc.boolean())), fc.constantFrom(1, 2, 3), (steps, port) => {
      const router = new StreamRouter<string>();
      const all = new Map<string, StreamMatcher>();
      for (const [step, isDelete] of steps) {
        if (isDelete) router.delete(step.id);
        else router.insert(step, step.id);
        if (isDelete) all.delete(step.id);
        else all.set(step.id, step);
      }
      const facts = { ...HERE, serverPort: port };
      const fitting = [...all.values()]
        .filter((each) => each.server_port === undefined || each.server_port === port)
        .filter((each) => each.remote_addr === undefined || each.remote_addr === "10.0.0.0/8")
        .sort((a, b) => a.created - b.created || (a.id < b.id ? -1 : 1));
      assert.equal(router.find(facts), fitting[0]?.id ?? null);
    }),
  );
});
