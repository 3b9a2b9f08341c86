/** `websocket` of routes and services, Cardea's own: how long upgraded connections live, and what a change means to them. */

import { Type } from "../lib/schema.ts";
import { withDefaults } from "./defaults.ts";
import type { PublishedWebSocket } from "./published.ts";
import { isObject } from "./resource-type.ts";
import { oneOf, strictObject } from "./schema-parts.ts";

const Seconds = Type.Number({ exclusiveMinimum: 0, maximum: 86_400 });

export const WebSocketSettings = strictObject({
  on_change: Type.Optional(oneOf(["keep", "drain", "close"], { default: "keep" })),
  drain_time: Type.Optional({ ...Seconds, default: 30 }),
  idle_timeout: Type.Optional(Seconds),
});

/** Undefined: nothing was said. */
export function webSocketOf(value: unknown): PublishedWebSocket | undefined {
  return isObject(value) ? (withDefaults(WebSocketSettings, value) as PublishedWebSocket) : undefined;
}
