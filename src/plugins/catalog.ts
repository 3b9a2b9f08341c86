/** The plugins that are built in, by name. The folder beside this file is the list of features. */

import type { PluginDefinition } from "../plugin/definition.ts";
import apiBreaker from "./api-breaker/index.ts";
import basicAuth from "./basic-auth/index.ts";
import clientControl from "./client-control/index.ts";
import consumerRestriction from "./consumer-restriction/index.ts";
import cors from "./cors/index.ts";
import deadline from "./deadline/index.ts";
import echo from "./echo/index.ts";
import examplePlugin from "./example-plugin/index.ts";
import faultInjection from "./fault-injection/index.ts";
import grpcTranscode from "./grpc-transcode/index.ts";
import grpcWeb from "./grpc-web/index.ts";
import ipRestriction from "./ip-restriction/index.ts";
import keyAuth from "./key-auth/index.ts";
import limitConn from "./limit-conn/index.ts";
import limitCount from "./limit-count/index.ts";
import limitReq from "./limit-req/index.ts";
import mqttProxy from "./mqtt-proxy/index.ts";
import mocking from "./mocking/index.ts";
import prometheus from "./prometheus/index.ts";
import proxyMirror from "./proxy-mirror/index.ts";
import proxyRewrite from "./proxy-rewrite/index.ts";
import publicApi from "./public-api/index.ts";
import realIp from "./real-ip/index.ts";
import redirect from "./redirect/index.ts";
import refererRestriction from "./referer-restriction/index.ts";
import requestId from "./request-id/index.ts";
import responseRewrite from "./response-rewrite/index.ts";
import trafficLabel from "./traffic-label/index.ts";
import trafficSplit from "./traffic-split/index.ts";
import rollout from "./rollout/index.ts";
import tlsFingerprint from "./tls-fingerprint/index.ts";
import uaRestriction from "./ua-restriction/index.ts";
import uriBlocker from "./uri-blocker/index.ts";
import workflow from "./workflow/index.ts";
import zoneAffinity from "./zone-affinity/index.ts";

const BUILT_IN = [
  apiBreaker,
  basicAuth,
  clientControl,
  consumerRestriction,
  cors,
  deadline,
  echo,
  examplePlugin,
  faultInjection,
  grpcTranscode,
  grpcWeb,
  ipRestriction,
  keyAuth,
  limitConn,
  limitCount,
  limitReq,
  mocking,
  mqttProxy,
  prometheus,
  proxyMirror,
  proxyRewrite,
  publicApi,
  realIp,
  redirect,
  refererRestriction,
  requestId,
  responseRewrite,
  rollout,
  trafficLabel,
  trafficSplit,
  tlsFingerprint,
  uaRestriction,
  uriBlocker,
  workflow,
  zoneAffinity,
] as unknown as readonly PluginDefinition[];

/** Parts of resources, which the static file cannot take away: without it a rollout would stop its route. */
const ALWAYS: ReadonlySet<string> = new Set(["rollout"]);

export class PluginCatalog {
  readonly #plugins = new Map<string, PluginDefinition>();

  /** `enabled`: names of built-in plugins that may be used; null: all. `others` come besides. */
  constructor(enabled: readonly string[] | null, others: readonly PluginDefinition[] = []) {
    for (const plugin of BUILT_IN) {
      if (enabled === null || enabled.includes(plugin.name) || ALWAYS.has(plugin.name))
        this.#plugins.set(plugin.name, plugin);
    }
    for (const plugin of others) this.#plugins.set(plugin.name, plugin);
  }

  get(name: string): PluginDefinition | undefined {
    return this.#plugins.get(name);
  }

  /** Higher priority first. */
  list(): PluginDefinition[] {
    return [...this.#plugins.values()].sort((a, b) => b.priority - a.priority);
  }
}
