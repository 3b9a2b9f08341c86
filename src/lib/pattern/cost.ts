/**
 * How many steps can a backtracking engine take? A bound of the form coefficient × n^degree, n being the length of the
 * input, computed from the tree: sound, simple, and often too high.
 *
 * The number of ways in which a part can match from a fixed place is bounded from below upwards. A single character has
 * one way; a sequence the product; alternatives that exclude each other by their leading characters the largest, others the
 * sum; a repetition whose body has one way and cannot begin with what may follow it has one way too, since where to leave
 * it is never a choice; otherwise it has n ways. A repetition whose body has several ways, or can be empty, is
 * exponential. Atomic groups and lookarounds show one way to the outside, but their own steps count.
 *
 * To the ways come: one factor n for runs that are no choice (`[^/]+/`: they cost their length, once per way), and one for
 * the places where an unanchored search can begin.
 */

import {
  ANYTHING,
  END_OF_INPUT,
  intersects,
  NOTHING,
  union,
  type CharacterSet,
  type SyntaxNode,
} from "./syntax.ts";

export interface Cost {
  coefficient: number;
  /** Infinity: exponential. */
  degree: number;
}

const ONE_WAY: Cost = { coefficient: 1, degree: 0 };
const EXPONENTIAL: Cost = { coefficient: 1, degree: Infinity };

/** Counted repetitions multiply; beyond this they are as good as exponential. */
const MAX_COEFFICIENT = 1e6;

/** Of the search for a match anywhere in an input. */
export function searchCost(root: SyntaxNode): Cost {
  const attempt = attemptCost(root);
  return { coefficient: attempt.coefficient, degree: attempt.degree + (beginsAtStart(root) ? 0 : 1) };
}

/** Whether leaving this repetition is never a choice, so that its possessive form is the same. */
export function isForced(body: SyntaxNode, follow: CharacterSet): boolean {
  return (
    !isNullable(body) &&
    isOne(waysOf(body, union(first(body), follow), { hasRun: false, nested: ONE_WAY })) &&
    !intersects(first(body), follow)
  );
}

/** Whether an atomic group has one way to match, whatever follows, so that its brackets may go. */
export function hasOneWay(body: SyntaxNode): boolean {
  return isOne(waysOf(body, ANYTHING, { hasRun: false, nested: ONE_WAY }));
}

/** What may follow each item of a sequence that is itself followed by `follow`. */
export function followsOf(items: readonly SyntaxNode[], follow: CharacterSet): CharacterSet[] {
  const follows: CharacterSet[] = [];
  let next = follow;
  for (const item of items.toReversed()) {
    follows.unshift(next);
    next = isNullable(item) ? union(first(item), next) : first(item);
  }
  return follows;
}

/** What matching costs apart from the number of ways. */
interface Sides {
  /** Whether there is a run that is no choice. Runs together are no longer than the input. */
  hasRun: boolean;
  /** The costliest group whose ways do not show outside. */
  nested: Cost;
}

function attemptCost(root: SyntaxNode, follow: CharacterSet = NOTHING): Cost {
  const sides: Sides = { hasRun: false, nested: ONE_WAY };
  const ways = waysOf(root, follow, sides);
  return product(ways, largest(sides.nested, { coefficient: 1, degree: sides.hasRun ? 1 : 0 }));
}

function largest(a: Cost, b: Cost): Cost {
  return { coefficient: Math.max(a.coefficient, b.coefficient), degree: Math.max(a.degree, b.degree) };
}

function waysOf(node: SyntaxNode, follow: CharacterSet, sides: Sides): Cost {
  switch (node.kind) {
    case "set":
    case "anchor":
      return ONE_WAY;
    case "backreference":
      sides.nested = largest(sides.nested, { coefficient: 1, degree: 1 }); // comparing takes the length of the group
      return ONE_WAY;
    case "capture":
      return waysOf(node.body, follow, sides);
    case "atomic":
    case "look":
      // Its end is not the end of the search: the same steps may be taken again from elsewhere.
      sides.nested = largest(sides.nested, attemptCost(node.body, ANYTHING));
      return ONE_WAY;
    case "sequence": {
      const follows = followsOf(node.items, follow);
      return node.items.reduce((cost, item, at) => product(cost, waysOf(item, follows[at], sides)), ONE_WAY);
    }
    case "choice": {
      const costs = node.options.map((option) => waysOf(option, follow, sides));
      return {
        coefficient: coefficientOfChoice(node.options, costs, follow),
        degree: Math.max(...costs.map((cost) => cost.degree)),
      };
    }
    default:
      return waysOfRepeat(node, follow, sides);
  }
}

function waysOfRepeat(node: SyntaxNode & { kind: "repeat" }, follow: CharacterSet, sides: Sides): Cost {
  const { body, min, max } = node;
  if (max === 0) return ONE_WAY;
  const start = first(body);
  const inner: Sides = { hasRun: sides.hasRun, nested: ONE_WAY };
  const once = waysOf(body, max > 1 ? union(start, follow) : follow, inner);
  sides.hasRun = inner.hasRun;
  const rounds = max === Infinity ? { coefficient: 1, degree: 1 } : { coefficient: max, degree: 0 };
  if (inner.nested !== ONE_WAY) sides.nested = largest(sides.nested, product(inner.nested, rounds));
  const isChoice = intersects(start, follow) || canBeEmpty(body);
  if (max === 1) {
    if (min === 1) return once;
    return { coefficient: once.coefficient + (isChoice ? 1 : 0), degree: once.degree };
  }
  // JavaScript goes on where an empty round ends the loop in PCRE; so V8 does not get these at all.
  if (canBeEmpty(body) || (max === Infinity && !isOne(once))) return EXPONENTIAL;
  if (max !== Infinity) {
    const repeated = {
      coefficient: once.coefficient ** max * (isChoice ? max - min + 1 : 1),
      degree: once.degree * max,
    };
    return repeated.coefficient > MAX_COEFFICIENT ? EXPONENTIAL : repeated;
  }
  if (node.mode !== "possessive" && isChoice) return { coefficient: 1, degree: 1 };
  // A run at the end of the pattern succeeds and ends the search: it is not repeated from other places.
  if (follow.length > 0 || node.mode === "possessive") sides.hasRun = true;
  return ONE_WAY;
}

function isOne(cost: Cost): boolean {
  return cost.coefficient === 1 && cost.degree === 0;
}

function product(a: Cost, b: Cost): Cost {
  const coefficient = a.coefficient * b.coefficient;
  return coefficient > MAX_COEFFICIENT ? EXPONENTIAL : { coefficient, degree: a.degree + b.degree };
}

function coefficientOfChoice(
  options: readonly SyntaxNode[],
  costs: readonly Cost[],
  follow: CharacterSet,
): number {
  const leads = options.map((option) => leadOf(option, follow));
  let greatest = 1;
  let sum = 0;
  let isExclusive = options.length <= MAX_COMPARED_OPTIONS;
  for (const [at, cost] of costs.entries()) {
    sum += cost.coefficient;
    greatest = Math.max(greatest, cost.coefficient);
    for (let other = 0; isExclusive && other < at; other++) isExclusive = excludes(leads[at], leads[other]);
  }
  return isExclusive ? greatest : sum;
}

/** Pairs of options are compared; beyond this all are taken to be possible. */
const MAX_COMPARED_OPTIONS = 200;

/** Whether no text begins with both. */
function excludes(a: readonly CharacterSet[], b: readonly CharacterSet[]): boolean {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) if (!intersects(a[i], b[i])) return true;
  return false;
}

/** The sets of the leading characters, as far as each must be there, and of the first one that need not. */
function leadOf(node: SyntaxNode, follow: CharacterSet): CharacterSet[] {
  const items = node.kind === "sequence" ? node.items : [node];
  const lead: CharacterSet[] = [];
  const follows = followsOf(items, follow);
  for (const [at, item] of items.entries()) {
    if (item.kind === "set") {
      lead.push(item.set);
      continue;
    }
    lead.push(isNullable(item) ? union(first(item), follows[at]) : first(item));
    return lead;
  }
  lead.push(follow.length === 0 ? ANYTHING : follow);
  return lead;
}

/** Characters with which a match of the node can begin. */
export function first(node: SyntaxNode): CharacterSet {
  switch (node.kind) {
    case "set":
      return node.set;
    case "capture":
    case "atomic":
      return first(node.body);
    case "repeat":
      return node.max === 0 ? NOTHING : first(node.body);
    case "choice":
      return union(...node.options.map(first));
    case "sequence": {
      const sets: CharacterSet[] = [];
      for (const item of node.items) {
        sets.push(first(item));
        if (!isNullable(item)) break;
      }
      return union(...sets);
    }
    case "anchor":
      if (node.anchor === "end") return [[END_OF_INPUT, END_OF_INPUT]];
      if (node.anchor === "endOrLastNewline" || node.anchor === "lineEnd") {
        return [
          [END_OF_INPUT, END_OF_INPUT],
          [10, 10],
        ];
      }
      return ANYTHING;
    case "look":
      // It can fail, so what precedes it is not at the end of the pattern.
      return node.behind || node.negative || isNullable(node.body) ? ANYTHING : first(node.body);
    default:
      return ANYTHING;
  }
}

/**
 * Whether what follows the node can decide how it goes on. Anchors for the end can not be passed by anything but the
 * end, so they count as a character; a lookahead restricts what follows and is passed by it.
 */
function isNullable(node: SyntaxNode): boolean {
  switch (node.kind) {
    case "set":
      return false;
    case "capture":
    case "atomic":
      return isNullable(node.body);
    case "repeat":
      return node.min === 0 || isNullable(node.body);
    case "choice":
      return node.options.some(isNullable);
    case "sequence":
      return node.items.every(isNullable);
    case "anchor":
      return node.anchor !== "end" && node.anchor !== "endOrLastNewline" && node.anchor !== "lineEnd";
    default:
      return true;
  }
}

/** Whether the node can match without taking a character: in a repetition engines differ about what that means. */
export function canBeEmpty(node: SyntaxNode): boolean {
  switch (node.kind) {
    case "set":
      return false;
    case "capture":
    case "atomic":
      return canBeEmpty(node.body);
    case "repeat":
      return node.min === 0 || canBeEmpty(node.body);
    case "choice":
      return node.options.some(canBeEmpty);
    case "sequence":
      return node.items.every(canBeEmpty);
    default:
      return true;
  }
}

function beginsAtStart(node: SyntaxNode): boolean {
  switch (node.kind) {
    case "anchor":
      return node.anchor === "start";
    case "capture":
    case "atomic":
      return beginsAtStart(node.body);
    case "repeat":
      return node.min > 0 && beginsAtStart(node.body);
    case "choice":
      return node.options.every(beginsAtStart);
    case "sequence":
      return node.items.some((item, at) => beginsAtStart(item) && node.items.slice(0, at).every(isZeroWidth));
    default:
      return false;
  }
}

function isZeroWidth(node: SyntaxNode): boolean {
  return node.kind === "anchor" || node.kind === "look";
}
