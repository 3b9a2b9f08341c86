/**
 * `proxy-mirror`: sends a copy of the request to another server and throws its answer away.
 *
 * Calls of gRPC go to `grpc://` and `grpcs://`, other requests to `http://` and `https://`; a copy of the other kind
 * is dropped. The copy costs the request nothing: it is not waited for, its failures are only counted, and what would need more
 * than its bounds is dropped (copies of a worker under way, bytes that wait for the other server).
 */

import {
  definePlugin,
  Type,
  type Exchange,
  type MirrorOutcome,
  type PluginHost,
} from "../../plugin/index.ts";
import { oneOf } from "../../plugin/schema.ts";
import type { PublishedUpstream } from "../../plugin/upstream-config.ts";

const HOST = String.raw`^(http(s)?|grpc(s)?):\/\/([\da-zA-Z.-]+|\[[\da-fA-F:]+\])(:\d+)?$`;

const Config = Type.Object({
  host: Type.String({
    pattern: HOST,
    description:
      "Where copies go: scheme (http, https, grpc, grpcs), host and perhaps a port, `http://10.0.0.1:8080`",
  }),
  path: Type.Optional(
    Type.String({
      pattern: "^/[^?&]+$",
      description: "Path of copies; absent: that of the request. Not for gRPC",
    }),
  ),
  path_concat_mode: oneOf(["replace", "prefix"], {
    default: "replace",
    description: "Whether `path` stands in the place of the request's or before it",
  }),
  sample_ratio: Type.Number({
    minimum: 0.00001,
    maximum: 1,
    default: 1,
    description: "Share of the requests that are copied",
  }),
});

export default definePlugin({
  name: "proxy-mirror",
  version: "0.1.0",
  priority: 1010,
  config: Config,
  check({ host }) {
    const { port } = partsOf(host);
    return port < 1 || port > 65_535 ? `host: given ${host}, expected a port from 1 to 65535` : null;
  },
  hostNames: ({ host }) => [partsOf(host).host],
  compile(config, host) {
    const upstream = host.inlineUpstream(upstreamOf(config.host, host.attributes["timeout"]));
    const ratio = config.sample_ratio;
    const path = config.path === undefined ? null : printable(config.path);
    const isCall = partsOf(config.host).scheme.startsWith("grpc");
    const isPrefix = config.path_concat_mode === "prefix";
    const count = counterOf(host);
    return {
      rewrite(ctx) {
        if (ratio < 1 && Math.random() >= ratio) return undefined;
        // The path of a call is its method, as plugins that come later say.
        ctx.mirrorTo(upstream, isCall ? null : targetOf(ctx, path, isPrefix), count);
        return undefined;
      },
      dispose: () => upstream.dispose(),
    };
  },
});

function targetOf(ctx: Exchange, path: string | null, isPrefix: boolean): string {
  const target = ctx.upstreamTarget ?? ctx.request.target;
  if (path === null) return target;
  if (isPrefix) return path + target;
  return ctx.request.query === "" ? path : `${path}?${ctx.request.query}`;
}

function counterOf(host: PluginHost): (outcome: MirrorOutcome) => void {
  const copies = host.metrics.counter(
    "mirrored_requests_total",
    ["outcome"],
    "Copies of requests: answered, failed, or dropped beyond the bounds",
  );
  const series = {
    answered: copies.series(["answered"]),
    failed: copies.series(["failed"]),
    dropped: copies.series(["dropped"]),
  };
  return (outcome) => copies.inc(series[outcome]);
}

interface HostParts {
  scheme: "http" | "https" | "grpc" | "grpcs";
  host: string;
  port: number;
}

function partsOf(text: string): HostParts {
  const [scheme, authority] = text.split("://") as [HostParts["scheme"], string];
  const colon = authority.startsWith("[") ? authority.indexOf("]:") + 1 : authority.indexOf(":");
  const host = colon < 1 ? authority : authority.slice(0, colon);
  const port = colon < 1 ? (scheme.endsWith("s") ? 443 : 80) : Number(authority.slice(colon + 1));
  return { scheme, host: host.replace(/^\[(.*)\]$/, "$1").toLowerCase(), port };
}

function upstreamOf(text: string, timeout: unknown): PublishedUpstream {
  const { scheme, host, port } = partsOf(text);
  const given = (timeout ?? {}) as Record<string, unknown>;
  return {
    scheme,
    nodes: [{ host, port, weight: 1, priority: 0 }],
    type: "roundrobin",
    hash_on: "vars",
    pass_host: "pass",
    retries: 0,
    timeout: {
      connect: secondsOf(given["connect"]),
      send: secondsOf(given["send"]),
      read: secondsOf(given["read"]),
    },
  };
}

const DEFAULT_TIMEOUT_SECONDS = 60;

/** `plugin_attr.proxy-mirror.timeout` has nginx's times: "60s", "500ms", or a bare number of seconds. */
function secondsOf(value: unknown): number {
  const match = /^(\d+(?:\.\d+)?)(ms|s|m)?$/.exec(
    typeof value === "number" ? String(value) : typeof value === "string" ? value : "",
  );
  if (match === null) return DEFAULT_TIMEOUT_SECONDS;
  const number = Number(match[1]);
  return match[2] === "ms" ? number / 1000 : match[2] === "m" ? number * 60 : number;
}

/** Characters that cannot stand in a request line are encoded. */
function printable(path: string): string {
  return path.toWellFormed().replace(/[^\x21-\x7e]/gu, encodeURIComponent);
}
