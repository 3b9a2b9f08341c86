/**
 * What authentication plugins have in common once the credentials of a request are found wanting: the anonymous
 * consumer, or a refusal with a challenge. Fails closed: an anonymous consumer that does not exist lets nobody in.
 */

import type { Answer, Exchange } from "./exchange.ts";
import type { PluginHost } from "./host.ts";

export interface Refusal {
  /** Name of the plugin, for the log. */
  plugin: string;
  /** Why the credentials do not count; the client reads it. */
  message: string;
  challenge: Record<string, string>;
}

/** Attaches the anonymous consumer, or answers 401. `anonymous` undefined: the route has none. */
export function admitAnonymous(
  ctx: Exchange,
  host: PluginHost,
  anonymous: string | undefined,
  refusal: Refusal,
): Answer | undefined {
  if (anonymous === undefined) return ctx.answer(401, { message: refusal.message }, refusal.challenge);
  const consumer = host.consumers.byName(anonymous);
  if (consumer === null) {
    host.log.error("anonymous consumer is missing", { plugin: refusal.plugin, consumer: anonymous });
    return ctx.answer(401, { message: "Invalid user authorization" }, refusal.challenge);
  }
  ctx.setConsumer(consumer.facts);
  return undefined;
}

/** A reference that nobody resolved is not the secret: whoever knows its text must not pass. */
export function isUnresolvedSecret(value: string): boolean {
  return value.startsWith("$secret://") || value.startsWith("$env://") || value.startsWith("$ENV://");
}
