/**
 * Finds the series of a family by the text of its labels, without keeping that text: it stands in shared
 * memory already, and a worker may have a hundred thousand of them.
 *
 * Keyed by a hash; a hit is compared with the text in the arena. Texts that share a hash with another one,
 * about one in ten thousand at the cap, are kept as they are.
 */

import type { MetricArena } from "./metric-arena.ts";

/** Keys stay small integers, which a map holds without a box. */
const HASH_MASK = 0x3f_ff_ff_ff;

export class SeriesIndex {
  readonly #arena: MetricArena;
  readonly #byHash = new Map<number, number>();
  readonly #colliding = new Map<string, number>();

  constructor(arena: MetricArena) {
    this.#arena = arena;
  }

  find(text: string): number | undefined {
    const index = this.#byHash.get(hashOf(text));
    if (index !== undefined && this.#arena.text(this.#arena.recordOf(index)) === text) return index;
    return this.#colliding.size === 0 ? undefined : this.#colliding.get(text);
  }

  add(text: string, index: number): void {
    const hash = hashOf(text);
    if (this.#byHash.has(hash)) this.#colliding.set(text, index);
    else this.#byHash.set(hash, index);
  }

  delete(text: string, index: number): void {
    const hash = hashOf(text);
    if (this.#byHash.get(hash) === index) this.#byHash.delete(hash);
    else this.#colliding.delete(text);
  }
}

/** FNV-1a over the code units. */
function hashOf(text: string): number {
  let hash = 0x81_1c_9d_c5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01_00_01_93);
  return hash & HASH_MASK;
}
