/**
 * `limit-count`: so many requests per time window and key.
 *
 * Exact over all workers of the node, or with a Redis over all gateways. The counter belongs to the resource that
 * holds the configuration and to the configuration's content: an edited limit begins anew, an edit elsewhere does
 * not. A `group` shares one counter instead. When requests cannot be counted (memory full, Redis away, no usable
 * number in the request), they get 500, or pass with `allow_degradation`.
 */

import { definePlugin, Type, type Exchange, type PhaseResult } from "../../plugin/index.ts";
import { checkCount, CountMetadata, countFields, countOptions } from "../limit/count-config.ts";
import { compileCountLimiter } from "../limit/count-limiter.ts";
import { ENCRYPTED_FIELDS } from "../limit/redis-settings.ts";

const COST_OF_A_REQUEST = 1;

export default definePlugin({
  name: "limit-count",
  version: "0.5.0",
  priority: 1002,
  perOwner: true,
  canBeSkipped: true,
  encrypted: ENCRYPTED_FIELDS,
  config: Type.Object(countFields, countOptions),
  metadata: CountMetadata,
  check: (config) => checkCount("limit-count", config),
  compile(config, host) {
    const limiter = compileCountLimiter("limit-count", config, host);
    const access = (ctx: Exchange): PhaseResult => limiter.take(ctx, COST_OF_A_REQUEST);
    return limiter.dispose === undefined ? { access } : { access, dispose: limiter.dispose };
  },
});
