/** What a worker says of described requests; the whole data path is there, without listeners. */

import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { silent } from "../../lib/silent-log.ts";
import { parseStaticConfig } from "../../config/load.ts";
import { resourceTypeBySingular } from "../../model/resources.ts";
import { PluginCatalog } from "../../plugins/catalog.ts";
import { ConfigurationReader, encodeConfiguration, type Kind } from "../../shared/configuration-bytes.ts";
import type { DescribedRequest, ExplainedCandidate, Explanation } from "../../shared/explanation.ts";
import { createSharedMemory, openSharedMemory } from "../../shared/shared-memory.ts";
import { Gateway } from "../gateway.ts";

const upstream = { nodes: { "127.0.0.1:81": 1 } };

interface Explaining {
  explain(target: string, more?: Partial<DescribedRequest>): Explanation;
  failure(target: string, more?: Partial<DescribedRequest>): string;
}

/** `blocks` are in the form for workers. */
function explaining(
  t: TestContext,
  resources: [Kind, string, object][],
  yaml = "",
  blocks: [string, object][] = [],
): Explaining {
  const { config } = parseStaticConfig("test", yaml, {});
  const shared = openSharedMemory(createSharedMemory(config.memory, 1), 0, 1);
  const gateway = new Gateway({
    config,
    slot: 0,
    shared,
    log: silent,
    accessLogPath: null,
  });
  t.after(() => gateway.close());
  const catalog = new PluginCatalog(null);
  for (const [i, [kind, id, value]] of resources.entries()) {
    const normal = resourceTypeBySingular(kind)!.normalize!(id, { ...value }, catalog, i);
    const bytes = encodeConfiguration([{ kind, id, value: JSON.stringify(normal) }]);
    gateway.configuration.put(kind, id, new ConfigurationReader(bytes).item(0).bytes!);
  }
  for (const [id, fields] of blocks) {
    const value = JSON.stringify({ id, close_connections: false, ...fields });
    const bytes = encodeConfiguration([{ kind: "block", id, value }]);
    gateway.configuration.put("block", id, new ConfigurationReader(bytes).item(0).bytes!);
  }
  const ask = (target: string, more: Partial<DescribedRequest> = {}) =>
    gateway.explainer.explain({
      method: "GET",
      authority: "a.com",
      target,
      headers: [],
      clientAddress: "127.0.0.1",
      scheme: "http",
      serverPort: 80,
      body: null,
      consumer: null,
      route: null,
      ...more,
    });
  return {
    explain(target, more) {
      const explanation = ask(target, more);
      if ("error" in explanation) throw new Error(explanation.error);
      return explanation;
    },
    failure(target, more) {
      const explanation = ask(target, more);
      assert.ok("error" in explanation && explanation.isMistake);
      return explanation.error;
    },
  };
}

function failingOf({ conditions }: ExplainedCandidate): string[] {
  return conditions.filter(({ holds }) => !holds).map(({ condition }) => condition);
}

test("each candidate says which condition fails, up to the one that takes the request and those behind it", (t) => {
  const { explain } = explaining(t, [
    ["route", "exact", { uri: "/a", methods: ["POST"], upstream }],
    ["route", "vars", { uri: "/a*", vars: [["arg_x", "==", "1"]], upstream }],
    ["route", "client", { uri: "/a*", remote_addr: "10.0.0.0/8", upstream }],
    ["route", "taken", { uri: "/*", host: "a.com", upstream }],
    ["route", "behind", { uri: "/*", upstream }],
    ["route", "apart", { uri: "/b", upstream }],
  ]);
  const explanation = explain("/a?x=2");
  assert.equal(explanation.route?.id, "taken");
  const failing = explanation.candidates.map((candidate) =>
    [candidate.route, candidate.verdict].concat(failingOf(candidate)),
  );
  assert.deepEqual(failing, [
    ["taken", "taken"],
    ["exact", "refused", "methods"],
    ["vars", "refused", "vars"],
    ["client", "refused", "remote_addrs"],
    ["behind", "behind"],
  ]);
  const vars = explanation.candidates[2].conditions.find(({ condition }) => condition === "vars")!;
  assert.deepEqual({ ...(vars.given as object) }, { arg_x: "2" });
  assert.equal(explain("/a?x=1", { authority: "b.com" }).route?.id, "vars");
});

test("a route that is asked for says why it is no candidate", (t) => {
  const { explain, failure } = explaining(t, [
    ["route", "1", { uri: "/a", hosts: ["b.com"], upstream }],
    ["route", "2", { uri: "/b", status: 0, upstream }],
  ]);
  const failing = (route: string) =>
    explain("/a", { route }).candidates.map((candidate) =>
      [candidate.verdict as string].concat(failingOf(candidate)),
    );
  assert.deepEqual(failing("1"), [["elsewhere", "host"]]);
  assert.deepEqual(failing("2"), [["elsewhere", "status", "uri"]]);
  assert.deepEqual(explain("/a").answer, { status: 404, reason: "no route takes the request" });
  assert.match(failure("/a", { route: "3" }), /^route: there is none with the id 3/);
});

test("plugins stand in the order in which they run, with what they replace", (t) => {
  const { explain, failure } = explaining(t, [
    [
      "consumer",
      "jack",
      {
        username: "jack",
        plugins: { "key-auth": { key: "k" }, "ip-restriction": { whitelist: ["1.1.1.1"] } },
      },
    ],
    ["service", "s", { plugins: { "limit-count": { count: 1, time_window: 1 }, cors: {} }, upstream }],
    ["plugin_config", "p", { plugins: { "request-id": { _meta: { disable: true } } } }],
    ["global_rule", "g", { plugins: { prometheus: {} } }],
    [
      "route",
      "1",
      {
        uri: "/a",
        service_id: "s",
        plugin_config_id: "p",
        plugins: {
          "limit-count": { count: 2, time_window: 1, _meta: { priority: 1 } },
          "key-auth": { _meta: { filter: [["arg_x", "==", "1"]] } },
        },
      },
    ],
  ]);
  const shown = (more?: Partial<DescribedRequest>) =>
    explain("/a", more).plugins.map(({ name, from, state, instead_of }) =>
      [name, from, state as string].concat(instead_of),
    );
  const ofRoute = [
    ["request-id", "plugin_config#p", "disabled"],
    ["cors", "service#s", "runs"],
    ["key-auth", "route#1", "filtered"],
    ["limit-count", "route#1", "runs", "service#s"],
  ];
  assert.deepEqual(shown(), ofRoute);
  assert.deepEqual(
    explain("/a").global_plugins.map(({ name, from }) => [name, from]),
    [["prometheus", "global_rule#g"]],
  );
  const withConsumer = [...ofRoute];
  withConsumer.splice(2, 0, ["ip-restriction", "consumer#jack", "runs"]);
  assert.deepEqual(shown({ consumer: "jack" }), withConsumer);
  assert.match(failure("/a", { consumer: "jill" }), /^consumer: there is none named jill/);
  assert.equal(explain("/a").upstream?.from, "service#s");
});

test("a plugin that this node does not know is what answers", (t) => {
  const { explain } = explaining(t, [["route", "1", { uri: "/a", plugin_config_id: "none", upstream }]]);
  const { plugins, answer } = explain("/a");
  assert.deepEqual(
    plugins.map(({ from, state }) => [from, state]),
    [["plugin_config#none", "unknown"]],
  );
  assert.deepEqual(answer, { status: 503, reason: "plugin_config#none does not exist" });
});

test("the node is the one that the next request gets, however often one asks", (t) => {
  const nodes = { "127.0.0.1:81": 2, "127.0.0.1:82": 1, "127.0.0.1:83": 0 };
  const { explain } = explaining(t, [
    ["upstream", "u", { type: "roundrobin", nodes, pass_host: "node" }],
    ["route", "1", { uri: "/a*", upstream_id: "u" }],
  ]);
  for (let i = 0; i < 5; i++) {
    const { from, type, node, host_header, target } = explain("/a%20b?c").upstream!;
    assert.deepEqual([from, type, node?.port], ["upstream#u", "roundrobin", 81]);
    assert.deepEqual([host_header, target], ["127.0.0.1:81", "/a%20b?c"]);
  }
});

test("without a node, upstream or reading the answer says so", (t) => {
  const { explain, failure } = explaining(t, [
    ["route", "1", { uri: "/empty", upstream: { nodes: {} } }],
    ["route", "2", { uri: "/gone", upstream_id: "none" }],
    ["route", "3", { uri: "/bare", plugins: {} }],
    ["route", "4", { uri: "/far", upstream: { ...upstream, zones: { order: ["nowhere"], strict: true } } }],
    ["route", "5", { uri: "/found", upstream: { service_name: "web", discovery_type: "consul" } }],
  ]);
  const status = (target: string) => explain(target).answer?.status;
  assert.deepEqual([status("/empty"), status("/gone"), status("/bare")], [503, 502, 503]);
  assert.match(explain("/far").answer!.reason, /zones\.strict/);
  assert.match(explain("/found").answer!.reason, /the discovery consul knows no node of web/);
  assert.match(failure("/%zz"), /no valid reading/);
});

test("a block and a fallback are told", (t) => {
  const fallback = 'cardea:\n  fallback:\n    nodes: ["127.0.0.1:9"]\n';
  const { explain } = explaining(t, [["route", "1", { uri: "/a", upstream }]], fallback, [
    ["b", { route_id: "1", addresses: ["10.0.0.0/8"], status: 429 }],
  ]);
  assert.equal(explain("/a").answer, null);
  const blocked = { status: 429, reason: "a block refuses the request" };
  assert.deepEqual(explain("/a", { clientAddress: "10.0.0.1" }).answer, blocked);
  const { answer, notes } = explain("/none");
  assert.equal(answer, null);
  assert.match(notes[0], /it goes to the fallback upstream/);
});

test("path parameters and variables of the body are read", (t) => {
  const { explain } = explaining(
    t,
    [
      ["route", "1", { uri: "/user/:name", upstream }],
      ["route", "2", { uri: "/post", vars: [["post_arg.a.b", "==", "1"]], upstream }],
    ],
    "apisix:\n  router:\n    http: radixtree_uri_with_parameter\n",
  );
  assert.deepEqual(explain("/user/jack").route?.parameters, { name: "jack" });
  const body = '{"a":{"b":"1"}}';
  const headers = [["content-type", "application/json"]] as const;
  assert.equal(explain("/post", { method: "POST", headers, body }).route?.id, "2");
  assert.equal(explain("/post", { method: "POST" }).route, null);
});

test("of many candidates a hundred are shown, the one that takes the request among them", (t) => {
  const routes = Array.from({ length: 150 }, (_, i): [Kind, string, object] => [
    "route",
    `r${i}`,
    { uri: "/a", vars: [["arg_x", "==", String(i)]], upstream },
  ]);
  const { candidates, candidates_left_out: leftOut } = explaining(t, routes).explain("/a?x=140");
  assert.deepEqual([candidates.length, leftOut, candidates.at(-1)?.route], [101, 49, "r140"]);
});
