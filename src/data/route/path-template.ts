/**
 * Paths of routes: how one is filed (exact text, or a prefix), and the check of what follows the prefix.
 *
 * A segment `:name` (parameter mode) takes one non-empty segment of the request; a segment `*` or `*name` takes any
 * text, slashes included, and as much of it as possible. A `*` elsewhere ends the prefix: at the end of the path that is
 * all there is to it, and inside a segment it stands for the rest of that segment. A `:` inside a segment is text, as
 * in "/file:list"; without parameter mode it is text anywhere before the first `*`. A path with `*` inside a segment, and no segment of the former kinds, is only a prefix, as in APISIX.
 *
 * The text of the route is interpreted as it is: a compiled form (a regular expression above all) costs kilobytes
 * for each of tens of thousands of routes.
 */

import type { RouteMatch } from "./route-pattern.ts";

const SLASH = 47;
const ASTERISK = 42;
const COLON = 58;

/** What follows a `*` in the middle is tried at every slash; beyond so many steps the path does not match. */
const MAX_STEPS = 20_000;

/** Parameters beyond so many are matched, not captured. */
const MAX_PARAMS = 64;

/** How a path is filed. */
export interface PathShape {
  /** The whole path, or what precedes its first wildcard. */
  readonly prefix: string;
  readonly isExact: boolean;
  /** Whether what follows the prefix has to be checked with `matchTemplate`. */
  readonly hasTemplate: boolean;
}

export function pathShape(uri: string, withParameters: boolean): PathShape {
  let at = 0;
  for (; at < uri.length; at++) {
    const code = uri.charCodeAt(at);
    if (code === ASTERISK || (withParameters && code === COLON && startsSegment(uri, at))) break;
  }
  if (at === uri.length) return { prefix: uri, isExact: true, hasTemplate: false };
  const isPlainPrefix = at === uri.length - 1 && uri.charCodeAt(at) === ASTERISK;
  return { prefix: uri.slice(0, at), isExact: false, hasTemplate: !isPlainPrefix && hasWildSegment(uri, at) };
}

function startsSegment(uri: string, at: number): boolean {
  return at > 0 && uri.charCodeAt(at - 1) === SLASH;
}

function isWildSegment(uri: string, at: number): boolean {
  if (at === 0 || uri.charCodeAt(at - 1) !== SLASH) return false;
  const code = uri.charCodeAt(at);
  return code === COLON || code === ASTERISK;
}

function hasWildSegment(uri: string, from: number): boolean {
  for (let at = from; at < uri.length; at++) if (isWildSegment(uri, at)) return true;
  return false;
}

/** Ranges of the match under way: start of name, end of name, start of value, end of value, for each parameter. */
const captured = new Int32Array(MAX_PARAMS * 4);
let capturedCount = 0;
let steps = 0;

/**
 * Whether `path` fits `uri`, whose first `prefixLength` characters are known to be those of `path`. Parameters go to
 * `result`, which is otherwise left alone; it allocates for these alone.
 */
export function matchTemplate<T>(
  uri: string,
  prefixLength: number,
  path: string,
  result: RouteMatch<T>,
): boolean {
  capturedCount = 0;
  steps = 0;
  if (!fits(uri, prefixLength, path, prefixLength, 0)) return false;
  const names: string[] = [];
  const values: string[] = [];
  for (let i = 0; i < capturedCount; i++) {
    const at = i * 4;
    names.push(captured[at] === captured[at + 1] ? ":ext" : uri.slice(captured[at], captured[at + 1]));
    values.push(path.slice(captured[at + 2], captured[at + 3]));
  }
  result.paramNames = names;
  result.paramValues = values;
  return true;
}

/** Recursive in wildcards that stand in the middle only. */
function fits(uri: string, uriFrom: number, path: string, pathFrom: number, params: number): boolean {
  let u = uriFrom;
  let p = pathFrom;
  while (u < uri.length) {
    if (++steps > MAX_STEPS) return false;
    const code = uri.charCodeAt(u);
    if (isWildSegment(uri, u)) {
      const nameEnd = segmentEnd(uri, u);
      if (code === COLON) {
        const valueEnd = segmentEnd(path, p);
        if (valueEnd === p) return false;
        capture(params++, u + 1, nameEnd, p, valueEnd);
        u = nameEnd;
        p = valueEnd;
        continue;
      }
      if (nameEnd === uri.length) {
        capture(params++, u + 1, nameEnd, p, path.length);
        capturedCount = Math.min(params, MAX_PARAMS);
        return true;
      }
      // The longest text first. The route goes on with a slash, so only slashes are worth a try.
      for (let end = path.lastIndexOf("/"); end >= p; end = end === 0 ? -1 : path.lastIndexOf("/", end - 1)) {
        if (fits(uri, nameEnd, path, end, params + 1)) {
          capture(params, u + 1, nameEnd, p, end);
          return true;
        }
        if (steps > MAX_STEPS) return false;
      }
      return false;
    }
    if (code === ASTERISK) {
      u = segmentEnd(uri, u);
      p = segmentEnd(path, p);
      continue;
    }
    if (p === path.length || path.charCodeAt(p) !== code) return false;
    u++;
    p++;
  }
  capturedCount = Math.min(params, MAX_PARAMS);
  return p === path.length;
}

function segmentEnd(text: string, from: number): number {
  const end = text.indexOf("/", from);
  return end === -1 ? text.length : end;
}

function capture(param: number, nameFrom: number, nameTo: number, valueFrom: number, valueTo: number): void {
  if (param >= MAX_PARAMS) return;
  const at = param * 4;
  captured[at] = nameFrom;
  captured[at + 1] = nameTo;
  captured[at + 2] = valueFrom;
  captured[at + 3] = valueTo;
}
