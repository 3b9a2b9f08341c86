/** Keys that APISIX's documentation prints and its packages shipped: everybody knows them, so they protect nothing. */

/** Of the Admin API: refused where other machines reach it, and warned of where none does. */
export const WELL_KNOWN_KEYS: ReadonlySet<string> = new Set([
  "edd1c9f034335f136f87ad84b625c8f1",
  "4054f7cf07e344346cd3f287985e76a2",
]);

/** Of the keyring for encryption at rest: they decrypt, and never encrypt. */
export const PUBLIC_KEYS: ReadonlySet<string> = new Set(["qeddd145sfvddff3", "edd1c9f0985e76a2"]);

/** Why it cannot be a key of an Admin API, which other machines reach or do not; null: it can. */
export function keyFault(key: string, isLocal: boolean): string | null {
  if (WELL_KNOWN_KEYS.has(key) && !isLocal) {
    return "given the key that APISIX's documentation prints, expected a secret of your own (or nothing, and one is made)";
  }
  if (!/^[\x21-\x7e]+$/.test(key))
    return "given a key that no header can carry, expected printable ASCII without spaces";
  return null;
}
