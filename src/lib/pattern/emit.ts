/**
 * Writes the tree of a pattern for V8 and for RE2.
 *
 * What neither engine has is rewritten: a possessive repetition or an atomic group that has one way to match anyway is
 * written plainly; for V8 others become a lookahead with a reference to it, which V8 does not re-enter. RE2 has
 * no lookarounds, references and atomic groups at all: then there is no text for it.
 */

import { canBeEmpty, first, followsOf, hasOneWay, isForced } from "./cost.ts";
import {
  complement,
  END_OF_INPUT,
  intersects,
  MAX_CODE_POINT,
  NOTHING,
  union,
  type Anchor,
  type CharacterSet,
  type SyntaxNode,
} from "./syntax.ts";

export interface NativeText {
  source: string;
  /** Index in V8's result of each group of the pattern, 0 for the whole; null while these are the same. */
  groupIndexes: readonly number[] | null;
}

/** For `new RegExp(source)` without flags. Null for a class of characters beyond U+FFFF, which would need other flags. */
export function emitNative(root: SyntaxNode): NativeText | null {
  const writer = new Writer(NATIVE_ANCHORS, true);
  const source = writer.write(root, NOTHING);
  return source === null
    ? null
    : { source, groupIndexes: writer.hiddenGroups === 0 ? null : writer.groupIndexes };
}

/** For RE2 without flags, or null where RE2 has no such thing. */
export function emitLinear(root: SyntaxNode): string | null {
  return new Writer(LINEAR_ANCHORS, false).write(root, NOTHING);
}

/**
 * Whether a group can be passed over in a round of a repetition: JavaScript then forgets what it took in an earlier round
 * (`(?:(a)|b)*` against "ab"), where PCRE and RE2 remember.
 */
export function forgetsCaptures(node: SyntaxNode, inLoop = false, isOptional = false): boolean {
  switch (node.kind) {
    case "capture":
      return (inLoop && isOptional) || forgetsCaptures(node.body, inLoop, isOptional);
    case "repeat":
      if (node.max > 1) return forgetsCaptures(node.body, true, inLoop && (isOptional || node.min === 0));
      return forgetsCaptures(node.body, inLoop, isOptional || (inLoop && node.min === 0));
    case "choice":
      return node.options.some((option) => forgetsCaptures(option, inLoop, isOptional || inLoop));
    case "sequence":
      return node.items.some((item) => forgetsCaptures(item, inLoop, isOptional));
    case "atomic":
    case "look":
      return forgetsCaptures(node.body, inLoop, isOptional);
    default:
      return false;
  }
}

const NATIVE_ANCHORS: Record<Anchor, string> = {
  start: "^",
  end: "$",
  endOrLastNewline: "(?=\\n?$)",
  // PCRE's does not hold after a line feed at the very end; both engines' does.
  lineStart: "(?<![^\\n])",
  lineEnd: "(?![^\\n])",
  wordBoundary: "\\b",
  notWordBoundary: "\\B",
};

const LINEAR_ANCHORS: Record<Anchor, string> = {
  start: "\\A",
  end: "\\z",
  // Takes a last line feed along, for want of a lookahead: the only difference, and one at the very end.
  endOrLastNewline: "(?:\\n?\\z)",
  lineStart: "(?m:^)",
  lineEnd: "(?m:$)",
  wordBoundary: "\\b",
  notWordBoundary: "\\B",
};

const LAST_NEWLINE: CharacterSet = [
  [END_OF_INPUT, END_OF_INPUT],
  [10, 10],
];

class Writer {
  readonly #anchors: Record<Anchor, string>;
  readonly #isNative: boolean;
  readonly groupIndexes: number[] = [0];
  hiddenGroups = 0;
  #groups = 0;

  constructor(anchors: Record<Anchor, string>, isNative: boolean) {
    this.#anchors = anchors;
    this.#isNative = isNative;
  }

  /** Null as soon as a part cannot be written. */
  write(node: SyntaxNode, follow: CharacterSet): string | null {
    switch (node.kind) {
      case "set":
        return this.#set(node.set);
      case "anchor":
        // RE2's form takes the last line feed, so nothing may be left that asks for it.
        if (!this.#isNative && node.anchor === "endOrLastNewline" && intersects(follow, LAST_NEWLINE))
          return null;
        return this.#anchors[node.anchor];
      case "sequence": {
        const follows = followsOf(node.items, follow);
        return joined(
          node.items.map((item, at) =>
            item.kind === "choice" ? this.#group(item, follows[at]) : this.write(item, follows[at]),
          ),
          "",
        );
      }
      case "choice":
        return joined(
          node.options.map((option) => this.write(option, follow)),
          "|",
        );
      case "capture": {
        this.groupIndexes[node.index] = ++this.#groups;
        return wrapped("(", this.write(node.body, follow));
      }
      case "repeat":
        return this.#repeat(node, follow);
      case "atomic":
        if (node.body.kind === "repeat" && node.body.mode === "greedy") {
          return this.#repeat({ ...node.body, mode: "possessive" }, follow);
        }
        return hasOneWay(node.body) ? this.#group(node.body, follow) : this.#atomic(node.body);
      case "look": {
        const opening = `(?${node.behind ? "<" : ""}${node.negative ? "!" : "="}`;
        return this.#isNative ? wrapped(opening, this.write(node.body, NOTHING)) : null;
      }
      default: {
        if (!this.#isNative) return null;
        const index = this.groupIndexes[node.index];
        if (index === undefined) return null; // a reference ahead of its group
        return node.ignoreCase ? `(?i:\\${index})` : `(?:\\${index})`;
      }
    }
  }

  #group(node: SyntaxNode, follow: CharacterSet): string | null {
    return wrapped("(?:", this.write(node, follow));
  }

  #repeat(node: SyntaxNode & { kind: "repeat" }, follow: CharacterSet): string | null {
    const { body, min, max, mode } = node;
    if (mode === "possessive" && !isForced(body, follow)) {
      return this.#atomic({ ...node, mode: "greedy" });
    }
    if (this.#isNative && min === 0 && max === 1 && canBeEmpty(body)) {
      // JavaScript refuses an empty round of an optional group; PCRE and RE2 take it.
      const option = this.write(body, follow);
      return option === null ? null : mode === "lazy" ? `(?:|${option})` : `(?:${option}|)`;
    }
    const inner = max > 1 ? union(first(body), follow) : follow;
    const text =
      body.kind === "set" || body.kind === "capture" ? this.write(body, inner) : this.#group(body, inner);
    if (text === null) return null;
    // A set that is written as a pair of code units has brackets of its own.
    return text + countText(min, max) + (mode === "lazy" ? "?" : "");
  }

  #atomic(body: SyntaxNode): string | null {
    if (!this.#isNative) return null;
    this.hiddenGroups++;
    const index = ++this.#groups;
    const inner = this.write(body, NOTHING);
    return inner === null ? null : `(?:(?=(${inner}))\\${index})`;
  }

  #set(set: CharacterSet): string | null {
    if (set.length === 0) return this.#isNative ? "[]" : null;
    if (set.length === 1 && set[0][0] === set[0][1]) return this.#single(set[0][0]);
    const outside = complement(set);
    if (outside.length === 0) return this.#isNative ? "[^]" : "(?s:.)";
    const isNegated = set.at(-1)![1] === MAX_CODE_POINT;
    const ranges = isNegated ? outside : set;
    if (this.#isNative && ranges.at(-1)![1] > 0xffff) return null;
    const parts = ranges.map(([low, high]) =>
      low === high ? this.#code(low) : `${this.#code(low)}-${this.#code(high)}`,
    );
    return `[${isNegated ? "^" : ""}${parts.join("")}]`;
  }

  #single(code: number): string {
    if (!this.#isNative || code <= 0xffff) return this.#code(code);
    const pair = String.fromCodePoint(code);
    return `(?:${this.#code(pair.charCodeAt(0))}${this.#code(pair.charCodeAt(1))})`;
  }

  #code(code: number): string {
    const character = String.fromCodePoint(code);
    if (/[A-Za-z0-9_/ ,;:=@%&~"'<>!#`]/.test(character)) return character;
    if (code > 0x20 && code < 0x7f) return `\\${character}`;
    if (this.#isNative) return `\\u${code.toString(16).padStart(4, "0")}`;
    return `\\x{${code.toString(16)}}`;
  }
}

function countText(min: number, max: number): string {
  if (max === Infinity) return min === 0 ? "*" : min === 1 ? "+" : `{${min},}`;
  if (min === 0 && max === 1) return "?";
  return min === max ? `{${min}}` : `{${min},${max}}`;
}

function joined(texts: (string | null)[], separator: string): string | null {
  return texts.includes(null) ? null : texts.join(separator);
}

function wrapped(opening: string, text: string | null): string | null {
  return text === null ? null : `${opening}${text})`;
}
