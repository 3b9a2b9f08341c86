/**
 * Upstreams that stand inside plugins (`traffic-split`) and are to be watched: found in the items of the
 * configuration, told once each however many resources hold the same one. Their key comes from their content.
 */

import { HELD_PREFIX } from "../../model/normalize-upstream.ts";
import type { PublishedUpstream } from "../../model/published.ts";
import type { ConfigurationItem } from "../../shared/configuration-bytes.ts";

const MARK = `"health_key":"${HELD_PREFIX}`;

export class HeldUpstreams {
  readonly #tell: (key: string, upstream: PublishedUpstream | null) => void;
  /** Keys that each item holds, and the items that hold each key. */
  readonly #keysOf = new Map<string, Set<string>>();
  readonly #usersOf = new Map<string, Set<string>>();

  /** `tell`: null when nobody holds the upstream any more. */
  constructor(tell: (key: string, upstream: PublishedUpstream | null) => void) {
    this.#tell = tell;
  }

  take({ kind, id, value }: ConfigurationItem): void {
    const item = `${kind}/${id}`;
    const before = this.#keysOf.get(item);
    const isHolder = value !== null && value.includes(MARK);
    if (!isHolder && before === undefined) return;
    const held = new Map<string, PublishedUpstream>();
    if (isHolder) collect(JSON.parse(value), held);
    for (const [key, upstream] of held) {
      const users = this.#usersOf.get(key);
      if (users !== undefined) users.add(item);
      else {
        this.#usersOf.set(key, new Set([item]));
        this.#tell(key, upstream);
      }
    }
    for (const key of before ?? []) if (!held.has(key)) this.#forget(key, item);
    if (held.size === 0) this.#keysOf.delete(item);
    else this.#keysOf.set(item, new Set(held.keys()));
  }

  #forget(key: string, item: string): void {
    const users = this.#usersOf.get(key)!;
    users.delete(item);
    if (users.size > 0) return;
    this.#usersOf.delete(key);
    this.#tell(key, null);
  }
}

/** Depth is bounded: the model bounds that of stored JSON. */
function collect(value: unknown, held: Map<string, PublishedUpstream>): void {
  if (typeof value !== "object" || value === null) return;
  const { health_key: key } = value as { health_key?: unknown };
  if (typeof key === "string" && key.startsWith(HELD_PREFIX)) held.set(key, value as PublishedUpstream);
  else for (const inner of Object.values(value)) collect(inner, held);
}
