/** What the programs share that are run by hand against whole nodes: numbers from the command line, and an end for all. */

import type { TestContext } from "node:test";

/** The arguments of the program as numbers, each with its default. */
export function numbersOf(defaults: readonly number[]): number[] {
  return defaults.map((value, i) => Number(process.argv[2 + i] ?? value));
}

/** Undone when the program ends, the last first. */
export const ends: (() => unknown)[] = [];

/** Stands for a test where a real node asks for one. */
export const t = {
  after: (end: () => unknown) => void ends.unshift(end),
  diagnostic: (text: string) => console.error(text),
} as unknown as TestContext;

/** Runs the program; whatever comes of it, nothing that it started is left. */
export async function play(run: () => Promise<void>): Promise<void> {
  try {
    await run();
  } finally {
    for (const end of ends) await end();
  }
}
