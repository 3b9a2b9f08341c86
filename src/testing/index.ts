/**
 * `cardea/testing`: a gateway in memory, for the tests of plugins and of whole configurations. No socket, no
 * thread, no store: resources in, requests in, answers out, with the real router, pipeline and plugins.
 *
 *     const gateway = testGateway({ routes: [{ uri: "/*", plugins: { "key-auth": {} }, upstream: { nodes: { "a:80": 1 } } }] });
 *     const answer = await gateway.request({ target: "/hello" });
 *     assert.equal(answer.status, 401);
 */

import { silent } from "../lib/silent-log.ts";
import type { Kind } from "../shared/configuration-bytes.ts";
import type { PluginDefinition } from "../plugin/definition.ts";
import type { PluginLog } from "../plugin/host.ts";
import { resourceTypeBySingular } from "../model/resources.ts";
import { PluginCatalog } from "../plugins/catalog.ts";
import { Configuration } from "../data/configuration/configuration.ts";
import { Deadlines } from "../data/deadlines.ts";
import { Fallback } from "../data/fallback.ts";
import { RequestLife } from "../data/life.ts";
import { ConfigurationReader, encodeConfiguration } from "../shared/configuration-bytes.ts";
import { createSharedMemory, openSharedMemory, type SharedBuffers } from "../shared/shared-memory.ts";
import { parseStaticConfig } from "../config/load.ts";
import { AddressSet } from "../lib/address.ts";
import { headOf, MemoryTransport, type TestRequest, type TestResponse } from "./memory-transport.ts";
import { memoryUpstream, type UpstreamFunction } from "./memory-upstream.ts";

export type { TestRequest, TestResponse } from "./memory-transport.ts";
export type { ForwardedRequest, UpstreamAnswer, UpstreamFunction } from "./memory-upstream.ts";

type Resource = Record<string, unknown>;

export interface TestGatewayOptions {
  routes?: Resource[];
  services?: Resource[];
  upstreams?: Resource[];
  consumers?: Resource[];
  globalRules?: Resource[];
  pluginConfigs?: Resource[];
  consumerGroups?: Resource[];
  pluginMetadata?: Record<string, Resource>;
  /** Plugins besides the built-in ones; of the same name, they replace them. */
  plugins?: readonly PluginDefinition[];
  /** Answers what goes upstream; default: 200 with the body "upstream". */
  upstream?: UpstreamFunction;
  /** Text of a static file (YAML). */
  config?: string;
  /** Wall clock of plugins, milliseconds; default `Date.now`. */
  now?: () => number;
  log?: PluginLog;
}

export interface TestGateway {
  /** `leaving`: when it is aborted before the answer is complete, the client is gone. */
  request(request?: TestRequest, leaving?: AbortSignal): Promise<TestResponse>;
  /** Adds or replaces a resource while the gateway runs; null deletes it. */
  put(kind: Kind, id: string, resource: Resource | null): void;
  /** The shared memory that plugins count in: for the metrics page, say. */
  readonly shared: SharedBuffers;
}

export function testGateway(options: TestGatewayOptions = {}): TestGateway {
  const { config } = parseStaticConfig("test", options.config ?? "", {});
  const buffers = createSharedMemory(config.memory, 1);
  const shared = openSharedMemory(buffers, 0, 1);
  const catalog = new PluginCatalog(config.plugins.enabled, options.plugins);
  const answer = options.upstream ?? (() => ({ body: "upstream" }));
  const log = options.log ?? silent;
  const configuration = new Configuration({
    catalog,
    host: {
      counters: shared.counters,
      dictionary: shared.dictionary,
      metrics: shared.metrics,
      attributesOf: (plugin) => config.plugins.attributes[plugin] ?? {},
      now: options.now ?? Date.now,
      monotonicNow: () => performance.now(),
      log,
      metricsPage: () =>
        Promise.resolve({ status: 200, contentType: "text/plain", body: Buffer.from("metrics\n") }),
    },
    routerMode: config.router.http,
    createUpstream: (upstream) => memoryUpstream(upstream, answer),
    setAddresses: () => undefined,
  });
  const life = new RequestLife({
    configuration,
    http: config.http,
    deadlines: new Deadlines(undefined, { sweeping: false }),
    pathRules: config.router,
    trusted: config.trustedAddresses.length === 0 ? null : new AddressSet(config.trustedAddresses),
    serverName: "cardea",
    accessLog: null,
    fallback:
      config.fallback === null
        ? null
        : new Fallback({
            upstream: config.fallback,
            createUpstream: (upstream) => memoryUpstream(upstream, answer),
            compiler: configuration.compiler,
            metrics: shared.metrics,
          }),
    log,
    isOverloaded: () => false,
    onBegin: () => undefined,
    onEnd: () => undefined,
  });

  let created = 0;
  const put = (kind: Kind, id: string, resource: Resource | null): void => {
    const type = resourceTypeBySingular(kind);
    if (type === undefined || type.normalize === null) throw new Error(`a test gateway has no ${kind}`);
    const value = resource === null ? null : JSON.stringify(type.normalize(id, resource, catalog, ++created));
    const item = new ConfigurationReader(encodeConfiguration([{ kind, id, value }])).item(0);
    if (item.bytes === null) configuration.remove(kind, id);
    else configuration.put(kind, id, item.bytes);
  };
  const putAll = (kind: Kind, resources: readonly Resource[] | undefined, idField = "id"): void => {
    for (const [i, resource] of (resources ?? []).entries()) {
      put(kind, String((resource[idField] as string | undefined) ?? i + 1), resource);
    }
  };

  for (const [name, metadata] of Object.entries(options.pluginMetadata ?? {}))
    put("plugin_metadata", name, metadata);
  putAll("consumer_group", options.consumerGroups);
  putAll("plugin_config", options.pluginConfigs);
  putAll("consumer", options.consumers, "username");
  putAll("upstream", options.upstreams);
  putAll("service", options.services);
  putAll("route", options.routes);
  putAll("global_rule", options.globalRules);

  return {
    put,
    shared: buffers,
    request(request = {}, leaving) {
      const transport = new MemoryTransport(request);
      const handler = life.begin(transport, headOf(request));
      transport.handler = handler;
      leaving?.addEventListener("abort", () => {
        handler.onAbort("closed");
        transport.abort();
      });
      return transport.done;
    },
  };
}
