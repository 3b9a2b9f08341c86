/**
 * `chash`: consistent hashing on a ring of points (ketama), the same ring as lua-resty-chash builds, so that
 * a key goes to the same node here as in a gateway of that family during a migration.
 *
 * 160 points per unit of weight, weights divided by their greatest common divisor; point i of a node is the
 * CRC-32 of "address NUL port" and of point i-1. A key belongs to the first point at or after its own CRC-32.
 * A node that was tried or is unhealthy is passed over on the ring. No state, hence the same on all workers.
 *
 * The ring is bounded: beyond `MAX_UNITS` the weights are scaled down (each node keeps at least one unit).
 */

import type { TriedNodes, UpstreamNode } from "../node.ts";
import { crc32, crc32Word } from "./crc32.ts";
import { isUsable, type BalanceRequest, type HealthView, type Picker } from "./contract.ts";
import type { HashKey } from "./hash-key.ts";

const POINTS_PER_UNIT = 160;
/** 640,000 points are 5 MB per worker. */
const MAX_UNITS = 4_000;
const INDEX_RANGE = 2 ** 20;

export class HashRing implements Picker {
  readonly #nodes: readonly UpstreamNode[];
  readonly #key: HashKey;
  /** Sorted points, and the index of the node that owns each. */
  readonly #points: Uint32Array;
  readonly #owners: Uint32Array;

  constructor(nodes: readonly UpstreamNode[], key: HashKey) {
    this.#nodes = nodes;
    this.#key = key;
    const units = weightUnits(nodes);
    let total = 0;
    for (const count of units) total += count;
    // Point and owner in one double (32 + 20 bits), so that the engine's numeric sort does the work.
    const packed = new Float64Array(total * POINTS_PER_UNIT);
    let at = 0;
    for (let index = 0; index < nodes.length; index++) {
      const node = nodes[index];
      const base = crc32(`${node.address}:${node.port}`.replaceAll(":", "\0"));
      let point = 0;
      for (let i = units[index] * POINTS_PER_UNIT; i > 0; i--) {
        point = crc32Word(base, point);
        packed[at++] = point * INDEX_RANGE + index;
      }
    }
    packed.sort();
    this.#points = new Uint32Array(packed.length);
    this.#owners = new Uint32Array(packed.length);
    for (let i = 0; i < packed.length; i++) {
      this.#points[i] = Math.floor(packed[i] / INDEX_RANGE);
      this.#owners[i] = packed[i] % INDEX_RANGE;
    }
  }

  pick(request: BalanceRequest, tried: TriedNodes, health: HealthView | null): UpstreamNode | null {
    const owners = this.#owners;
    let at = this.#firstPoint(crc32(this.#key.of(request)));
    let last = -1;
    for (let i = 0; i < owners.length; i++) {
      const owner = owners[at];
      if (owner !== last) {
        const node = this.#nodes[owner];
        if (isUsable(node, tried, health)) return node;
        last = owner;
      }
      at = at + 1 === owners.length ? 0 : at + 1;
    }
    return null;
  }

  #firstPoint(hash: number): number {
    const points = this.#points;
    let low = 0;
    let high = points.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (points[middle] < hash) low = middle + 1;
      else high = middle;
    }
    return low === points.length ? 0 : low;
  }
}

function weightUnits(nodes: readonly UpstreamNode[]): number[] {
  let divisor = 0;
  for (const node of nodes) divisor = greatestCommonDivisor(divisor, node.weight);
  let total = 0;
  for (const node of nodes) total += node.weight / divisor;
  const scale = total > MAX_UNITS ? MAX_UNITS / total : 1;
  return nodes.map((node) => Math.max(1, Math.round((node.weight / divisor) * scale)));
}

function greatestCommonDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestCommonDivisor(b, a % b);
}
