/**
 * Header names with `_`: CGI-like applications read `X_Real_IP` and `X-Real-IP` as one, so a client could say
 * beside the gateway what only the gateway may say.
 *
 * "drop-colliding" drops a name with `_` whose twin with `-` is present, is set by gateways, or frames and
 * routes messages. The gateway's own fields come after parsing, so presence alone would not be enough.
 */

import type { HttpConfig } from "../../config/static-config.ts";
import type { HeaderList } from "../../lib/headers.ts";

export type UnderscorePolicy = HttpConfig["underscoresInHeaders"];

const ALWAYS_COLLIDING = new Set(
  "host content-length transfer-encoding connection upgrade expect authorization forwarded x-real-ip".split(
    " ",
  ),
);
const ALWAYS_COLLIDING_PREFIXES = ["x-forwarded-", "x-consumer-", "x-credential-"];

/** Applies the policy in place; false: the request is to be refused. Call it only if a name holds `_`. */
export function applyUnderscorePolicy(headers: HeaderList, policy: UnderscorePolicy): boolean {
  if (policy === "keep") return true;
  if (policy === "reject") return false;
  for (const name of new Set(headers.names)) {
    if (name.includes("_") && (policy === "drop" || collides(name.replaceAll("_", "-"), headers)))
      headers.delete(name);
  }
  return true;
}

function collides(twin: string, headers: HeaderList): boolean {
  return (
    headers.has(twin) ||
    ALWAYS_COLLIDING.has(twin) ||
    ALWAYS_COLLIDING_PREFIXES.some((prefix) => twin.startsWith(prefix))
  );
}
