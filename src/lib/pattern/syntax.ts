/**
 * The syntax tree of a pattern, and sets of characters.
 *
 * Flags are resolved while parsing: a set already holds both cases under `i`, a dot already knows whether it takes line
 * feeds, anchors say which of their meanings is meant. So nothing below depends on flags.
 */

/** Sorted, disjoint, inclusive ranges of code points. -1 stands for the end of the input in sets of what may follow. */
export type CharacterSet = readonly (readonly [low: number, high: number])[];

export const END_OF_INPUT = -1;
export const MAX_CODE_POINT = 0x10ffff;

export const NOTHING: CharacterSet = [];
export const ANYTHING: CharacterSet = [[END_OF_INPUT, MAX_CODE_POINT]];

export type Anchor =
  | "start" // \A, and ^ without m
  | "end" // \z
  | "endOrLastNewline" // \Z, and $ without m
  | "lineStart"
  | "lineEnd"
  | "wordBoundary"
  | "notWordBoundary";

export type SyntaxNode =
  | { kind: "set"; set: CharacterSet }
  | { kind: "sequence"; items: SyntaxNode[] }
  | { kind: "choice"; options: SyntaxNode[] }
  | { kind: "repeat"; body: SyntaxNode; min: number; max: number; mode: "greedy" | "lazy" | "possessive" }
  | { kind: "capture"; index: number; body: SyntaxNode }
  | { kind: "atomic"; body: SyntaxNode }
  | { kind: "look"; body: SyntaxNode; behind: boolean; negative: boolean }
  | { kind: "anchor"; anchor: Anchor }
  | { kind: "backreference"; index: number; ignoreCase: boolean };

export interface Syntax {
  root: SyntaxNode;
  /** Number of capturing groups. */
  captures: number;
  /** Index of each named group. */
  names: ReadonlyMap<string, number>;
}

export function union(...sets: CharacterSet[]): CharacterSet {
  const sorted = sets.flat().sort((a, b) => a[0] - b[0]);
  const merged: [number, number][] = [];
  for (const [low, high] of sorted) {
    const last = merged.at(-1);
    if (last !== undefined && low <= last[1] + 1) last[1] = Math.max(last[1], high);
    else merged.push([low, high]);
  }
  return merged;
}

/** All characters that are not in the set; the end of the input is no character. */
export function complement(set: CharacterSet): CharacterSet {
  const rest: [number, number][] = [];
  let from = 0;
  for (const [low, high] of set) {
    if (low > from) rest.push([from, low - 1]);
    from = Math.max(from, high + 1);
  }
  if (from <= MAX_CODE_POINT) rest.push([from, MAX_CODE_POINT]);
  return rest;
}

export function intersects(a: CharacterSet, b: CharacterSet): boolean {
  return a.some(([low, high]) => b.some(([otherLow, otherHigh]) => low <= otherHigh && otherLow <= high));
}

/** Both cases of the ASCII letters in the set: what PCRE folds without its UTF mode. */
export function withBothCases(set: CharacterSet): CharacterSet {
  const others: [number, number][] = [];
  for (const [low, high] of set) {
    for (const [from, to, shift] of [
      [65, 90, 32],
      [97, 122, -32],
    ]) {
      const first = Math.max(low, from);
      const last = Math.min(high, to);
      if (first <= last) others.push([first + shift, last + shift]);
    }
  }
  return others.length === 0 ? set : union(set, others);
}
