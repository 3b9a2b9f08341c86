/** A seeded source of randomness, so that every failure of a fuzz test can be repeated with `FUZZ_SEED`. */

/** mulberry32: small, and good enough to choose test cases. */
export class Random {
  readonly seed: number;
  #state: number;

  constructor(seed: number) {
    this.seed = seed;
    this.#state = seed;
  }

  /** From `FUZZ_SEED`, or a new one. Print `seed` with every failure. */
  static fromEnvironment(): Random {
    const given = process.env["FUZZ_SEED"];
    return new Random(given === undefined ? Math.floor(Math.random() * 0x7fff_ffff) : Number(given));
  }

  /** 0 to 1, exclusive. */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let t = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  }

  below(bound: number): number {
    return Math.floor(this.next() * bound);
  }

  chance(share: number): boolean {
    return this.next() < share;
  }

  pick<T>(choices: readonly T[]): T {
    return choices[this.below(choices.length)];
  }
}

/** Runs of each fuzz test: `FUZZ_RUNS` for long ones by hand. */
export function fuzzRuns(usual: number): number {
  return Number(process.env["FUZZ_RUNS"] ?? usual);
}

/** Changes one to four bytes: flips, inserts, deletes, doubles a slice, or takes bytes that parsers care about. */
export function mutate(random: Random, bytes: Buffer): Buffer {
  let mutated = bytes;
  for (let times = 1 + random.below(4); times > 0; times--) {
    const at = random.below(mutated.length + 1);
    const byte = random.chance(0.7) ? random.pick(TELLING) : random.below(256);
    const before = mutated.subarray(0, at);
    switch (random.below(4)) {
      case 0:
        mutated = Buffer.concat([before, Buffer.from([byte]), mutated.subarray(at)]);
        break;
      case 1:
        mutated = Buffer.concat([before, mutated.subarray(at + 1)]);
        break;
      case 2:
        mutated = Buffer.concat([before, Buffer.from([byte]), mutated.subarray(at + 1)]);
        break;
      default: {
        const end = Math.min(mutated.length, at + random.below(40));
        mutated = Buffer.concat([mutated.subarray(0, end), mutated.subarray(at)]);
      }
    }
  }
  return mutated;
}

const TELLING = [
  0, 9, 10, 10, 11, 13, 13, 32, 32, 35, 43, 44, 45, 47, 48, 49, 58, 58, 59, 92, 95, 127, 128, 160, 255,
];
