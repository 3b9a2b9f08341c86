/** Keys that APISIX's documentation prints and its packages shipped: everybody knows them, so they protect nothing. */

/** Of the Admin API: refused. */
export const WELL_KNOWN_KEYS: ReadonlySet<string> = new Set([
  "edd1c9f034335f136f87ad84b625c8f1",
  "4054f7cf07e344346cd3f287985e76a2",
]);

/** Of the keyring for encryption at rest: they decrypt, and never encrypt. */
export const PUBLIC_KEYS: ReadonlySet<string> = new Set(["qeddd145sfvddff3", "edd1c9f0985e76a2"]);
