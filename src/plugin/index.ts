/** `cardea/plugin`: what the author of a plugin imports. */
export { Type } from "../lib/schema.ts";
export type { Static } from "@sinclair/typebox";
export { definePlugin, PHASES } from "./definition.ts";
export type {
  InnerConfig,
  Phase,
  PhaseResult,
  PluginApi,
  PluginDefinition,
  PluginHandlers,
} from "./definition.ts";
export type { ClientHello, HelloConnection, TlsVersionName } from "./client-hello.ts";
export type {
  Answer,
  AnswerBody,
  ClientFacts,
  ConsumerFacts,
  Exchange,
  ExchangeRequest,
  ExchangeResponse,
  LateText,
  MirrorOutcome,
  RouteFacts,
  WholeAnswer,
  ZoneWish,
} from "./exchange.ts";
export type {
  ConsumerIndex,
  IndexedConsumer,
  OwnUpstream,
  PluginHost,
  PluginLog,
  PublishedProto,
  UpstreamHandle,
} from "./host.ts";
export type { StreamExchange, StreamFacts } from "./stream.ts";
export { HeaderList } from "../lib/headers.ts";
export type { MetricFamily, MetricLane } from "../shared/metric-lane.ts";
