/**
 * Reads PCRE syntax into a tree, or refuses it with the reason and the place.
 *
 * Understood: everything that JavaScript and RE2 could express in some way, in PCRE's spelling: inline flags, POSIX
 * classes, possessive and atomic forms, `\A \z \Z \h \v \R \N`, `\Q..\E`, three spellings of named groups, comments and
 * free spacing. Refused: recursion, conditionals, verbs, callouts, `\K`, `\G`, `\C`, `\X` and Unicode properties. As in nginx,
 * which does not set PCRE's UTF mode, classes such as `\w` and the folding of case are those of ASCII.
 */

import {
  CHARACTER_ESCAPES,
  CLASS_ESCAPES,
  NEWLINE,
  NOT_NEWLINE,
  POSIX_CLASSES,
  VERTICAL,
} from "./character-classes.ts";
import {
  complement,
  MAX_CODE_POINT,
  union,
  withBothCases,
  type Anchor,
  type CharacterSet,
  type Syntax,
  type SyntaxNode,
} from "./syntax.ts";

/** The pattern cannot be translated, or cannot be run in bounded time; the message says why and where. */
export class PatternError extends Error {
  override readonly name = "PatternError";
}

const MAX_SOURCE_LENGTH = 8192;
const MAX_DEPTH = 64;
const MAX_REPEAT = 1000;
/** Of the tree with its counted repetitions written out: engines unroll them. */
const MAX_SIZE = 20_000;

interface Flags {
  ignoreCase: boolean;
  multiline: boolean;
  dotAll: boolean;
  extended: boolean;
  ungreedy: boolean;
}

const EMPTY: SyntaxNode = { kind: "sequence", items: [] };

/** Throws a `PatternError`. `flags` are those of ngx.re: i m s x U a, and j o u d D J, which change nothing here. */
export function parsePattern(source: string, flags: string): Syntax {
  if (source.length > MAX_SOURCE_LENGTH) {
    throw new PatternError(`pattern of ${source.length} characters, expected at most ${MAX_SOURCE_LENGTH}`);
  }
  return new Parser(source, flags).parse();
}

class Parser {
  readonly #source: string;
  readonly #anchored: boolean;
  #at = 0;
  #depth = 0;
  #captures = 0;
  #size = 0;
  #flags: Flags;
  readonly #names = new Map<string, number>();
  readonly #references: { name: string; node: { index: number }; at: number }[] = [];

  constructor(source: string, flags: string) {
    this.#source = source;
    const unknown = /[^imsxUajoudDJ]/.exec(flags);
    if (unknown) throw new PatternError(`unknown flag "${unknown[0]}" (flags "${flags}")`);
    this.#anchored = flags.includes("a");
    this.#flags = {
      ignoreCase: flags.includes("i"),
      multiline: flags.includes("m"),
      dotAll: flags.includes("s"),
      extended: flags.includes("x"),
      ungreedy: flags.includes("U"),
    };
  }

  parse(): Syntax {
    let root = this.#choice();
    if (this.#at < this.#source.length) this.#refuse("unmatched )");
    for (const { name, node, at } of this.#references) {
      const index = /^\d+$/.test(name) ? Number(name) : (this.#names.get(name) ?? 0);
      if (index < 1 || index > this.#captures)
        this.#refuse(`reference to group ${name}, which does not exist`, at);
      node.index = index;
    }
    if (this.#anchored) root = { kind: "sequence", items: [{ kind: "anchor", anchor: "start" }, root] };
    return { root, captures: this.#captures, names: this.#names };
  }

  #refuse(reason: string, at = this.#at): never {
    throw new PatternError(`${reason} at offset ${at} of pattern ${JSON.stringify(this.#source)}`);
  }

  #eat(text: string): boolean {
    if (!this.#source.startsWith(text, this.#at)) return false;
    this.#at += text.length;
    return true;
  }

  /** Eats what the sticky `shape` matches, or answers null. */
  #eatShape(shape: RegExp): RegExpExecArray | null {
    shape.lastIndex = this.#at;
    const match = shape.exec(this.#source);
    if (match !== null) this.#at += match[0].length;
    return match;
  }

  /** Alternatives up to a closing parenthesis or the end. Flags that change inside end with it. */
  #choice(): SyntaxNode {
    if (++this.#depth > MAX_DEPTH) this.#refuse(`groups nested deeper than ${MAX_DEPTH}`);
    const outer = this.#flags;
    const options = [this.#sequence()];
    while (this.#eat("|")) options.push(this.#sequence());
    this.#flags = outer;
    this.#depth--;
    return options.length === 1 ? options[0] : { kind: "choice", options };
  }

  #sequence(): SyntaxNode {
    const items: SyntaxNode[] = [];
    while (this.#at < this.#source.length) {
      this.#skipFreeSpacing();
      const next = this.#source[this.#at];
      if (next === undefined || next === "|" || next === ")") break;
      if (this.#eat("\\Q")) {
        const end = this.#source.indexOf("\\E", this.#at);
        const stop = end === -1 ? this.#source.length : end;
        for (const character of this.#source.slice(this.#at, stop))
          items.push(this.#character(character.codePointAt(0)!));
        this.#at = end === -1 ? stop : stop + 2;
        const last = items.pop();
        if (last !== undefined) items.push(this.#repeated(last, 1));
        continue;
      }
      if (this.#eat("\\E")) continue;
      const sizeBefore = this.#size;
      const atom = this.#atom();
      if (atom === null) continue;
      items.push(this.#repeated(atom, this.#size - sizeBefore));
    }
    return items.length === 1 ? items[0] : { kind: "sequence", items };
  }

  #skipFreeSpacing(): void {
    if (this.#flags.extended) this.#eatShape(/(?:[ \t-\r]|#[^\n]*)+/y);
  }

  /** The atom with its quantifiers. */
  #repeated(atom: SyntaxNode, size: number): SyntaxNode {
    let node = atom;
    this.#skipFreeSpacing();
    const found = this.#eatShape(/(?:([*+?])|\{(\d+)(?:(,)(\d*))?\})([?+]?)/y);
    if (found === null) return node;
    const [, sign, low, comma, high, suffix] = found;
    const min = sign === undefined ? Number(low) : sign === "+" ? 1 : 0;
    let max = sign === "?" ? 1 : Infinity;
    if (sign === undefined) max = comma === undefined ? min : high === "" ? Infinity : Number(high);
    if (max < min) this.#refuse(`repetition {${min},${max}} whose maximum is below its minimum`);
    if (min > MAX_REPEAT || (max !== Infinity && max > MAX_REPEAT)) {
      this.#refuse(`repetition of more than ${MAX_REPEAT}`);
    }
    if (atom.kind === "anchor" || atom.kind === "look") {
      // A zero-width thing holds once or not at all.
      return min === 0 ? EMPTY : atom;
    }
    const isLazy = suffix !== "+" && (suffix === "?") !== this.#flags.ungreedy;
    node = {
      kind: "repeat",
      body: atom,
      min,
      max,
      mode: suffix === "+" ? "possessive" : isLazy ? "lazy" : "greedy",
    };
    this.#grow(size * (Math.max(min, max === Infinity ? 1 : max) - 1));
    if (this.#eatShape(/(?:[*+?]|\{\d+(?:,\d*)?\})/y) !== null) this.#refuse("nothing to repeat");
    return node;
  }

  #grow(by: number): void {
    this.#size += Math.max(by, 0);
    if (this.#size > MAX_SIZE)
      this.#refuse(`pattern larger than ${MAX_SIZE} with its repetitions written out`);
  }

  #character(code: number): SyntaxNode {
    return this.#set([[code, code]]);
  }

  #set(set: CharacterSet): SyntaxNode {
    this.#grow(1);
    return { kind: "set", set: this.#flags.ignoreCase ? withBothCases(set) : set };
  }

  #anchor(anchor: Anchor): SyntaxNode {
    this.#grow(1);
    return { kind: "anchor", anchor };
  }

  /** Null for what stands for nothing: a comment, a change of flags. */
  #atom(): SyntaxNode | null {
    const code = this.#source.codePointAt(this.#at)!;
    const character = String.fromCodePoint(code);
    this.#at += character.length;
    switch (character) {
      case "(":
        return this.#group();
      case "[":
        return this.#class();
      case ".":
        return this.#set(this.#flags.dotAll ? [[0, MAX_CODE_POINT]] : NOT_NEWLINE);
      case "^":
        return this.#anchor(this.#flags.multiline ? "lineStart" : "start");
      case "$":
        return this.#anchor(this.#flags.multiline ? "lineEnd" : "endOrLastNewline");
      case "\\":
        return this.#escape();
      case "*":
      case "+":
      case "?":
        return this.#refuse("nothing to repeat", this.#at - 1);
      default:
        return this.#character(code);
    }
  }

  #group(): SyntaxNode | null {
    if (this.#source.startsWith("*", this.#at)) this.#refuse("verbs (*...) are not supported");
    if (!this.#eat("?")) return this.#capture(null);
    if (this.#eat("#")) {
      const end = this.#source.indexOf(")", this.#at);
      if (end === -1) this.#refuse("comment without end");
      this.#at = end + 1;
      return null;
    }
    if (this.#eat(":")) return this.#closed(this.#choice());
    if (this.#eat(">")) return { kind: "atomic", body: this.#closed(this.#choice()) };
    const look = this.#eatShape(/<?[=!]/y);
    if (look !== null) {
      const body = this.#closed(this.#choice());
      return { kind: "look", body, behind: look[0].length === 2, negative: look[0].endsWith("!") };
    }
    const named = this.#eatShape(/P?<([A-Za-z_]\w*)>|'([A-Za-z_]\w*)'/y);
    if (named !== null) return this.#capture(named[1] ?? named[2]);
    const reference = this.#eatShape(/P=([A-Za-z_]\w*)\)/y);
    if (reference !== null) return this.#reference(reference[1]);
    const flags = this.#eatShape(/(\^?[imsxUJn]*)(?:-([imsxUJn]*))?([:)])/y);
    if (flags === null) this.#refuse("recursion, conditionals, callouts and branch resets are not supported");
    return this.#flagGroup(flags[1], flags[2] ?? "", flags[3] === ")");
  }

  #flagGroup(on: string, off: string, isForRest: boolean): SyntaxNode | null {
    if (/[Jn]/.test(on + off)) this.#refuse("the flags J and n are not supported");
    const outer = this.#flags;
    const base: Flags = on.startsWith("^")
      ? { ignoreCase: false, multiline: false, dotAll: false, extended: false, ungreedy: outer.ungreedy }
      : outer;
    const value = (letter: string, before: boolean): boolean =>
      off.includes(letter) ? false : on.includes(letter) || before;
    this.#flags = {
      ignoreCase: value("i", base.ignoreCase),
      multiline: value("m", base.multiline),
      dotAll: value("s", base.dotAll),
      extended: value("x", base.extended),
      ungreedy: value("U", base.ungreedy),
    };
    if (isForRest) return null;
    const body = this.#closed(this.#choice());
    this.#flags = outer;
    return body;
  }

  #capture(name: string | null): SyntaxNode {
    const index = ++this.#captures;
    if (name !== null) {
      if (this.#names.has(name)) this.#refuse(`second group of the name ${name}`);
      this.#names.set(name, index);
    }
    return { kind: "capture", index, body: this.#closed(this.#choice()) };
  }

  #closed(body: SyntaxNode): SyntaxNode {
    if (!this.#eat(")")) this.#refuse("missing )");
    this.#grow(1);
    return body;
  }

  #reference(name: string): SyntaxNode {
    const node = { kind: "backreference" as const, index: 0, ignoreCase: this.#flags.ignoreCase };
    this.#references.push({ name, node, at: this.#at });
    this.#grow(1);
    return node;
  }

  #escape(): SyntaxNode {
    const from = this.#at;
    const letter = this.#source[this.#at];
    if (letter === undefined) this.#refuse("\\ at the end");
    if (Object.hasOwn(CLASS_ESCAPES, letter)) {
      this.#at++;
      return this.#set(CLASS_ESCAPES[letter]);
    }
    const reference = this.#eatShape(
      /[1-9]|g(-?\d+)|g\{(-?\d+|[A-Za-z_]\w*)\}|k(?:\{(\w+)\}|<(\w+)>|'(\w+)')/y,
    );
    if (reference !== null) {
      const name = reference.slice(1).find((group) => group !== undefined) ?? reference[0];
      return this.#reference(name.startsWith("-") ? String(this.#captures + 1 + Number(name)) : name);
    }
    this.#at++;
    switch (letter) {
      case "A":
        return this.#anchor("start");
      case "z":
        return this.#anchor("end");
      case "Z":
        return this.#anchor("endOrLastNewline");
      case "b":
        return this.#anchor("wordBoundary");
      case "B":
        return this.#anchor("notWordBoundary");
      case "N":
        return this.#set(NOT_NEWLINE);
      case "R": {
        const pair: SyntaxNode = { kind: "sequence", items: [this.#set([[13, 13]]), this.#set(NEWLINE)] };
        return { kind: "atomic", body: { kind: "choice", options: [pair, this.#set(VERTICAL)] } };
      }
      default:
        this.#at = from;
        return this.#character(this.#escapedCharacter());
    }
  }

  /** What follows a backslash, where it means one character; in classes and outside. */
  #escapedCharacter(): number {
    const hexadecimal = this.#eatShape(/x(?:\{([\da-fA-F]{1,6})\}|([\da-fA-F]{0,2}))/y);
    if (hexadecimal !== null)
      return this.#checked(Number.parseInt(hexadecimal[1] ?? (hexadecimal[2] || "0"), 16));
    const octal = this.#eatShape(/o\{([0-7]{1,7})\}|(0[0-7]{0,2})/y);
    if (octal !== null) return this.#checked(Number.parseInt(octal[1] ?? octal[2], 8));
    const control = this.#eatShape(/c([!-~])/y);
    if (control !== null) return control[1].toUpperCase().charCodeAt(0) ^ 64;
    const code = this.#source.codePointAt(this.#at);
    if (code === undefined) this.#refuse("\\ at the end");
    const character = String.fromCodePoint(code);
    if (Object.hasOwn(CHARACTER_ESCAPES, character)) {
      this.#at++;
      return CHARACTER_ESCAPES[character];
    }
    if (/[A-Za-z0-9]/.test(character)) this.#refuse(`\\${character} is not supported`);
    this.#at += character.length;
    return code;
  }

  #checked(code: number): number {
    if (code > MAX_CODE_POINT) this.#refuse("character beyond U+10FFFF");
    return code;
  }

  #class(): SyntaxNode {
    const from = this.#at - 1;
    const isNegated = this.#eat("^");
    const sets: CharacterSet[] = [];
    let isQuoted = false;
    for (let isFirst = true; ; isFirst = false) {
      if (this.#at >= this.#source.length) this.#refuse("missing ]", from);
      if (isQuoted ? this.#eat("\\E") : this.#eat("\\Q")) {
        isQuoted = !isQuoted;
        continue;
      }
      if (!isQuoted && !isFirst && this.#eat("]")) break;
      const low = this.#classMember(isQuoted);
      if (typeof low !== "number") {
        sets.push(low);
        continue;
      }
      if (!isQuoted && this.#source[this.#at] === "-" && this.#source[this.#at + 1] !== "]") {
        const dash = this.#at++;
        const high = this.#at < this.#source.length ? this.#classMember(false) : low;
        if (typeof high !== "number") {
          sets.push([[low, low]], [[45, 45]], high);
          continue;
        }
        if (high < low) this.#refuse("range out of order", dash);
        sets.push([[low, high]]);
        continue;
      }
      sets.push([[low, low]]);
    }
    let set = union(...sets);
    if (this.#flags.ignoreCase) set = withBothCases(set);
    this.#grow(1);
    return { kind: "set", set: isNegated ? complement(set) : set };
  }

  /** One character of a class, or a whole class inside it. */
  #classMember(isQuoted: boolean): number | CharacterSet {
    if (!isQuoted) {
      const posix = this.#eatShape(/\[:(\^?)([a-z]+):\]/y);
      if (posix !== null) {
        if (!Object.hasOwn(POSIX_CLASSES, posix[2])) this.#refuse(`unknown class [:${posix[2]}:]`);
        return posix[1] === "^" ? complement(POSIX_CLASSES[posix[2]]) : POSIX_CLASSES[posix[2]];
      }
      if (this.#eat("\\")) {
        const letter = this.#source[this.#at];
        if (letter !== undefined && Object.hasOwn(CLASS_ESCAPES, letter)) {
          this.#at++;
          return CLASS_ESCAPES[letter];
        }
        if (this.#eat("b")) return 8;
        const octal = this.#eatShape(/[1-7][0-7]{0,2}/y);
        return octal === null ? this.#escapedCharacter() : Number.parseInt(octal[0], 8);
      }
    }
    const code = this.#source.codePointAt(this.#at)!;
    this.#at += code > 0xffff ? 2 : 1;
    return code;
  }
}
