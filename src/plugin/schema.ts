/** Parts of configuration schemas that several plugins share. Bounds, patterns and names are those of APISIX. */

import type { SchemaOptions, TUnsafe } from "@sinclair/typebox";
import { Type } from "../lib/schema.ts";

/** One of these texts. Not a union of literals: what an `enum` refuses is named in one sentence. */
export function oneOf<const T extends readonly string[]>(
  values: T,
  options: SchemaOptions = {},
): TUnsafe<T[number]> {
  return Type.Unsafe<T[number]>({ type: "string", enum: values, ...options });
}

/** An IP address or a CIDR range of either family. Lengths of IPv6 prefixes are left to the plugin's `check`. */
export const AddressOrCidr = Type.Unsafe<string>({
  type: "string",
  anyOf: [
    { format: "ipv4" },
    { format: "ipv4-cidr" },
    { format: "ipv6" },
    { pattern: "^[0-9a-fA-F:.]*:[0-9a-fA-F:.]*/[0-9]{1,3}$" },
  ],
});

/** Name that an authentication challenge shows (RFC 9110 11.5): what may stand between double quotes. */
export function realm(byDefault: string) {
  return Type.String({
    default: byDefault,
    minLength: 1,
    pattern: '^[^\\x00-\\x1f\\x7f"\\\\]+$',
    description: "Realm that the challenge of a 401 names",
  });
}

export const AnonymousConsumer = Type.Optional(
  Type.String({ minLength: 1, description: "Consumer of requests without valid credentials" }),
);

/** A status that a plugin may answer with. */
export function rejectionStatus(byDefault: number) {
  return Type.Integer({
    minimum: 200,
    maximum: 599,
    default: byDefault,
    description: "Status of a refusal",
  });
}
