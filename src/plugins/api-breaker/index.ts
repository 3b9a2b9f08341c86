/**
 * `api-breaker`: answers in the place of an upstream that fails, for a time that doubles with each further failure.
 *
 * What fails is counted per host and path over all workers of the node, in the shared dictionary. Fails open: what cannot
 * be counted, or was forgotten because memory was short, goes upstream.
 */

import { hash } from "node:crypto";
import { definePlugin, Type, type Exchange } from "../../plugin/index.ts";
import { checkHeaderMap, compileHeaderMap } from "../../plugin/header-map.ts";

const UNHEALTHY = { http_statuses: [500], failures: 3 };
const HEALTHY = { http_statuses: [200], successes: 3 };

/** A longer host and path is known by its hash: keys of the dictionary are bounded. */
const MAX_NAME_LENGTH = 180;

const Config = Type.Object({
  break_response_code: Type.Integer({
    minimum: 200,
    maximum: 599,
    description: "Status of the answer while the breaker is open",
  }),
  break_response_body: Type.Optional(Type.String({ description: "Its body" })),
  break_response_headers: Type.Optional(
    Type.Array(
      Type.Object({
        key: Type.String({ minLength: 1, description: "Name" }),
        value: Type.String({ minLength: 1, description: "Text, may hold $variables" }),
      }),
      { description: "Its header fields; they need `break_response_body`" },
    ),
  ),
  max_breaker_sec: Type.Integer({
    minimum: 3,
    default: 300,
    description: "The longest time in seconds that it stays open",
  }),
  unhealthy: Type.Object(
    {
      http_statuses: Type.Array(Type.Integer({ minimum: 500, maximum: 599 }), {
        minItems: 1,
        uniqueItems: true,
        default: UNHEALTHY.http_statuses,
        description: "Statuses of the upstream that count as failures",
      }),
      failures: Type.Integer({
        minimum: 1,
        default: UNHEALTHY.failures,
        description: "Failures that open it, and again open it for twice the time",
      }),
    },
    { default: UNHEALTHY, description: "What opens the breaker" },
  ),
  healthy: Type.Object(
    {
      http_statuses: Type.Array(Type.Integer({ minimum: 200, maximum: 499 }), {
        minItems: 1,
        uniqueItems: true,
        default: HEALTHY.http_statuses,
        description: "Statuses of the upstream that count as successes",
      }),
      successes: Type.Integer({
        minimum: 1,
        default: HEALTHY.successes,
        description: "Successes in a row that make all failures forgotten",
      }),
    },
    { default: HEALTHY, description: "What closes it" },
  ),
});

export default definePlugin({
  name: "api-breaker",
  version: "0.1.0",
  priority: 1005,
  config: Config,
  check: ({ break_response_headers: headers }) => checkHeaderMap(mapOf(headers)),
  compile(config, host) {
    const { dictionary } = host;
    const { break_response_code: status, break_response_body: body } = config;
    const { failures, http_statuses: badStatuses } = config.unhealthy;
    const { successes, http_statuses: goodStatuses } = config.healthy;
    const maxSeconds = config.max_breaker_sec;
    const headers = body === undefined ? undefined : compileHeaderMap(mapOf(config.break_response_headers));

    return {
      access(ctx) {
        const name = nameOf(ctx);
        const failed = dictionary.get(`breaker-failures:${name}`);
        if (typeof failed !== "number") return undefined;
        const openedAt = dictionary.get(`breaker-opened:${name}`);
        if (typeof openedAt !== "number") return undefined;
        const times = Math.max(1, Math.floor(failed / failures));
        const openSeconds = Math.min(2 ** times, maxSeconds);
        if (openedAt + openSeconds < Math.floor(host.now() / 1000)) return undefined;
        return ctx.answer(status, body, headers?.(ctx));
      },
      log(ctx) {
        const upstreamStatus = lastStatus(ctx);
        if (upstreamStatus === 0) return;
        if (badStatuses.includes(upstreamStatus)) {
          const name = nameOf(ctx);
          const failed = dictionary.increment(`breaker-failures:${name}`, 1, 0);
          dictionary.delete(`breaker-successes:${name}`);
          if (failed === undefined || failed % failures !== 0) return;
          dictionary.set(`breaker-opened:${name}`, Math.floor(host.now() / 1000), maxSeconds * 1000);
        } else if (goodStatuses.includes(upstreamStatus)) {
          const name = nameOf(ctx);
          if (dictionary.get(`breaker-failures:${name}`) === undefined) return;
          const succeeded = dictionary.increment(`breaker-successes:${name}`, 1, 0) ?? 0;
          if (succeeded < successes) return;
          dictionary.delete(`breaker-opened:${name}`);
          dictionary.delete(`breaker-failures:${name}`);
          dictionary.delete(`breaker-successes:${name}`);
        }
      },
    };
  },
});

function nameOf(ctx: Exchange): string {
  const name = ctx.request.host + ctx.request.path;
  return name.length <= MAX_NAME_LENGTH && isAscii(name) ? name : hash("sha256", name);
}

function isAscii(text: string): boolean {
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) > 0x7f) return false;
  return true;
}

/** Of the last attempt: `$upstream_status` may be "502, 200"; 0: there was none. */
function lastStatus(ctx: Exchange): number {
  const statuses = ctx.variable("upstream_status");
  return statuses === undefined || statuses === "" ? 0 : Number(statuses.slice(-3));
}

function mapOf(headers: readonly { key: string; value: string }[] | undefined): Record<string, string> {
  return Object.fromEntries((headers ?? []).map(({ key, value }) => [key, value]));
}
