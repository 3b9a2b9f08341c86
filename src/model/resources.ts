/** All resource types. The Admin API, the store and control loop over this list and know none of them by name. */

import { blockType } from "./block.ts";
import { consumerType } from "./consumer.ts";
import { credentialType } from "./credential.ts";
import { drainType } from "./drain.ts";
import { graphqlCostDecorationType } from "./graphql-cost-decoration.ts";
import { secretType } from "./secret.ts";
import { pluginMetadataType } from "./plugin-metadata.ts";
import { consumerGroupType, globalRuleType, pluginConfigType } from "./plugin-sets.ts";
import { protoType } from "./proto.ts";
import type { ResourceType } from "./resource-type.ts";
import { progressType, rolloutType } from "./rollout.ts";
import { routeType } from "./route.ts";
import { serviceType } from "./service.ts";
import { sslType } from "./ssl.ts";
import { streamRouteType } from "./stream-route.ts";
import { upstreamType } from "./upstream.ts";

/** In an order in which each type only refers to those before it, protos and secrets aside. */
export const RESOURCE_TYPES: readonly ResourceType[] = [
  secretType,
  protoType,
  sslType,
  upstreamType,
  pluginMetadataType,
  globalRuleType,
  pluginConfigType,
  consumerGroupType,
  serviceType,
  graphqlCostDecorationType,
  routeType,
  streamRouteType,
  consumerType,
  credentialType,
  blockType,
  drainType,
  rolloutType,
  progressType,
];

const byPlural = new Map(RESOURCE_TYPES.map((type) => [type.plural, type]));
const bySingular = new Map(RESOURCE_TYPES.map((type) => [type.singular, type]));

/** "routes" → its type; undefined for anything else. */
export function resourceType(plural: string): ResourceType | undefined {
  return byPlural.get(plural);
}

/** "route" → its type, as the schema endpoints name them. */
export function resourceTypeBySingular(singular: string): ResourceType | undefined {
  return bySingular.get(singular);
}
