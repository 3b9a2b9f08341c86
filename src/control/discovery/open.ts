/** The discoveries that the static file sets up. */

import { OwnListeners } from "../own-listeners.ts";
import type { ConsulDiscoveryConfig, DiscoveryConfig } from "../../config/discovery.ts";
import type { StaticConfig } from "../../config/static-config.ts";
import type { Log } from "../../lib/log.ts";
import { ConsulKvSource } from "./consul/consul-kv.ts";
import { ConsulSource } from "./consul/consul.ts";
import { Discoveries, type SourcePlan } from "./discoveries.ts";
import { DnsSource } from "./dns.ts";
import { EurekaSource } from "./eureka.ts";
import { KubernetesSource } from "./kubernetes/kubernetes.ts";
import { NacosSource } from "./nacos.ts";

export function openDiscoveries(
  config: Pick<StaticConfig, "discovery" | "resolver" | "listeners">,
  dataFolder: string,
  log: Log,
): Discoveries {
  const own = new OwnListeners(config.listeners);
  const isOwnListener = (host: string, port: number): boolean => own.refusalOf({ host, port }) !== null;
  return new Discoveries({
    config: config.discovery,
    plans: plansOf(config),
    isOwnListener,
    dataFolder,
    log,
  });
}

function plansOf({ discovery, resolver }: Pick<StaticConfig, "discovery" | "resolver">): SourcePlan[] {
  const { dns, consul, consulKv, eureka, nacos, kubernetes } = discovery;
  const plans: SourcePlan[] = [];
  if (dns !== null) {
    const { timeoutMs, validMs, ipv6 } = resolver;
    plans.push(
      plan("dns", (findings) => new DnsSource(dns, { timeoutMs, validMs, ipv6 }, findings), {
        ...(dns.resolvConf === null ? { servers: dns.servers } : { resolv_conf: dns.resolvConf }),
        order: dns.order,
      }),
    );
  }
  if (consul !== null) {
    const shown = {
      ...shownConsul(consul),
      sort_type: consul.sort,
      ...(consul.skipped.length > 0 && { skip_services: consul.skipped }),
    };
    plans.push({
      ...plan("consul", (findings) => new ConsulSource(consul, findings), shown),
      ...ofConsul(consul),
    });
  }
  if (consulKv !== null) {
    const shown = {
      ...shownConsul(consulKv),
      prefix: consulKv.prefix,
      ...(consulKv.skipped.length > 0 && { skip_keys: consulKv.skipped }),
    };
    plans.push({
      ...plan("consul_kv", (findings) => new ConsulKvSource(consulKv, findings), shown),
      ...ofConsul(consulKv),
    });
  }
  if (eureka !== null)
    plans.push(plan("eureka", (findings) => new EurekaSource(eureka, findings), shownPolled(eureka)));
  if (nacos !== null)
    plans.push(plan("nacos", (findings) => new NacosSource(nacos, findings), shownPolled(nacos)));
  if (kubernetes.length > 0) {
    const shown = kubernetes.map(({ id, server, labelSelector, weight, usesSlices }) => ({
      ...(id !== "" && { id }),
      server,
      ...(labelSelector !== null && { label_selector: labelSelector }),
      default_weight: weight,
      watch_endpoint_slices: usesSlices,
    }));
    plans.push(
      plan("kubernetes", (findings) => new KubernetesSource(kubernetes, findings), { clusters: shown }),
    );
  }
  return plans;
}

function plan(type: string, open: SourcePlan["open"], shownConfig: object): SourcePlan {
  return { type, open, dump: null, defaultNode: null, shownConfig };
}

function ofConsul({
  dump,
  defaultNode,
  weight,
}: ConsulDiscoveryConfig): Pick<SourcePlan, "dump" | "defaultNode"> {
  return { dump, defaultNode: defaultNode === null ? null : { ...defaultNode, weight } };
}

/** Whether there is a token, without it. */
function shownConsul(config: ConsulDiscoveryConfig): object {
  const { servers, token, timeouts, waitMs, intervalMs, waitsForChanges, weight, dump, defaultNode } = config;
  return {
    servers,
    token: token === "" ? "" : "(hidden)",
    timeout: { connect: timeouts.connectMs, read: timeouts.readMs, wait: waitMs / 1000 },
    fetch_interval: intervalMs / 1000,
    keepalive: waitsForChanges,
    weight,
    ...(dump !== null && {
      dump: { path: dump.path, load_on_init: dump.isLoaded, expire: dump.expireMs / 1000 },
    }),
    ...(defaultNode !== null && { default_service: defaultNode }),
  };
}

/** Without users, passwords and keys. */
function shownPolled(config: NonNullable<DiscoveryConfig["eureka"]>): object {
  const { hosts, prefix, intervalMs, weight, timeouts, sendMs } = config;
  return {
    host: hosts.map((host) => new URL(host).origin),
    prefix,
    fetch_interval: intervalMs / 1000,
    weight,
    timeout: { connect: timeouts.connectMs, send: sendMs, read: timeouts.readMs },
  };
}
