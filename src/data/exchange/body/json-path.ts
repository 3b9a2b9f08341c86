/**
 * Reads a value out of JSON by a path: names, `[n]`, `[*]`, `['name']` and `..name`, with or without a leading
 * `$.`. With a wildcard or a search the result is the list of all that was found, else the one value.
 */

type Step = { name: string } | { all: true } | { search: string };

/** More found values are not gathered: a body must not decide how much we hold. */
const MAX_FOUND = 1000;
const STEPS_CACHED = 512;

const STEP = /\.\.([^.[\]]+)|\.?([^.[\]]+)|\[(\d+|\*)\]|\[(?:'([^']*)'|"([^"]*)")\]/gy;

const cache = new Map<string, readonly Step[] | null>();

/** Undefined when there is no such value, or the path is none. */
export function readPath(root: unknown, path: string): unknown {
  const steps = stepsOf(path);
  if (steps === null) return undefined;
  let found: unknown[] = [root];
  let isList = false;
  for (const step of steps) {
    const next: unknown[] = [];
    for (const value of found) take(value, step, next);
    isList ||= !("name" in step);
    found = next;
  }
  return isList ? (found.length === 0 ? undefined : found) : found[0];
}

function stepsOf(path: string): readonly Step[] | null {
  let steps = cache.get(path);
  if (steps === undefined) {
    steps = parse(path.startsWith("$") ? path.slice(1) : path);
    if (cache.size < STEPS_CACHED) cache.set(path, steps);
  }
  return steps;
}

function parse(path: string): readonly Step[] | null {
  const steps: Step[] = [];
  let end = 0;
  for (const match of path.matchAll(STEP)) {
    const [whole, search, name, index, single, double] = match;
    end = match.index + whole.length;
    if (search !== undefined) steps.push({ search });
    else if (index === "*" || name === "*") steps.push({ all: true });
    else steps.push({ name: name ?? index ?? single ?? double });
  }
  return end === path.length && steps.length > 0 ? steps : null;
}

function take(value: unknown, step: Step, found: unknown[]): void {
  if (typeof value !== "object" || value === null || found.length >= MAX_FOUND) return;
  if ("name" in step) {
    if (Object.hasOwn(value, step.name)) found.push((value as Record<string, unknown>)[step.name]);
    return;
  }
  for (const [key, inner] of Object.entries(value)) {
    if (found.length >= MAX_FOUND) return;
    if ("all" in step || key === step.search) found.push(inner);
    if ("search" in step) take(inner, step, found);
  }
}
