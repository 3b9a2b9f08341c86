/**
 * An ordered list of header fields, as every protocol of the data path produces and consumes it.
 *
 * It keeps what the sender wrote (order, case, repetition) and a lower-case name beside each field. A list
 * is scanned, not hashed: a request has about ten fields, and comparing interned strings is one pointer
 * comparison each, which is cheaper than building a map per request.
 *
 * Names and values are not validated here; the parsers and `ctx.response` do that at the border.
 */

/** Bound of the intern table: real traffic knows a few hundred spellings, a hostile client any number. */
const INTERN_LIMIT = 4096;

const lowerCaseNames = new Map<string, string>();

/** Lower-case form of a header name. The same spelling gives the same string object (bounded cache). */
export function lowerName(name: string): string {
  let lower = lowerCaseNames.get(name);
  if (lower === undefined) {
    lower = internalized(name.toLowerCase());
    if (lowerCaseNames.size < INTERN_LIMIT && name.length <= 64) lowerCaseNames.set(name, lower);
  }
  return lower;
}

/**
 * The same text as V8's one string for it, which constants of the source are, too: two of these are compared by their
 * pointers. What is cut or decoded from bytes is not, whatever its contents; names of properties are.
 */
export function internalized(text: string): string {
  // Without a prototype an object is a dictionary: a literal would leave V8 a shape for each name, of those that a client makes up, too.
  const holder = Object.create(null) as Record<string, null>;
  holder[text] = null;
  return Object.keys(holder)[0];
}

export class HeaderList {
  /**
   * Every field came from a parser or is the gateway's own, so a serialiser need not look for characters that would
   * split the message. `add` and `set`, which plugins use, end that; so must whoever writes into the arrays.
   */
  isChecked = true;
  /** Lower-case names; index i belongs to `rawNames[i]` and `values[i]`. Read freely, change by methods. */
  readonly names: string[] = [];
  readonly rawNames: string[] = [];
  readonly values: string[] = [];

  static from(fields: Iterable<readonly [string, string]> | Record<string, string>): HeaderList {
    const list = new HeaderList();
    const entries = Symbol.iterator in fields ? fields : Object.entries(fields);
    for (const [name, value] of entries) list.add(name, value);
    return list;
  }

  get length(): number {
    return this.names.length;
  }

  /** First value of `name` (lower case), or undefined. */
  get(name: string): string | undefined {
    const at = this.names.indexOf(name);
    return at === -1 ? undefined : this.values[at];
  }

  /** All values of `name` (lower case) in order. */
  getAll(name: string): string[] {
    const found: string[] = [];
    for (let i = 0; i < this.names.length; i++) if (this.names[i] === name) found.push(this.values[i]);
    return found;
  }

  /** All values of `name` (lower case) joined by ", " (by "; " for cookie, RFC 9113 8.2.3), or undefined. */
  joined(name: string): string | undefined {
    const first = this.names.indexOf(name);
    if (first === -1) return undefined;
    if (this.names.indexOf(name, first + 1) === -1) return this.values[first];
    return this.getAll(name).join(name === "cookie" ? "; " : ", ");
  }

  has(name: string): boolean {
    return this.names.includes(name);
  }

  /** Appends a field, keeping others of the same name. */
  add(rawName: string, value: string): void {
    this.isChecked = false;
    this.push(lowerName(rawName), rawName, value);
  }

  /** Appends a field that is known to be fit for the wire; for parsers and the gateway's own. */
  push(name: string, rawName: string, value: string): void {
    this.names.push(name);
    this.rawNames.push(rawName);
    this.values.push(value);
  }

  /** Replaces the first field of that name and drops the rest, or appends. */
  set(rawName: string, value: string): void {
    this.isChecked = false;
    this.put(lowerName(rawName), rawName, value);
  }

  /** As `set`, for a field that is known to be fit for the wire. */
  put(name: string, rawName: string, value: string): void {
    const at = this.names.indexOf(name);
    if (at === -1) {
      this.push(name, rawName, value);
      return;
    }
    this.rawNames[at] = rawName;
    this.values[at] = value;
    this.#deleteFrom(name, at + 1);
  }

  /** Removes every field of `name` (lower case); says whether there was one. */
  delete(name: string): boolean {
    return this.#deleteFrom(name, 0);
  }

  clear(): void {
    this.cutTo(0);
  }

  /** Drops all behind the first `length` fields. Pops, since setting the length of an array leaves compiled code. */
  cutTo(length: number): void {
    const { names, rawNames, values } = this;
    while (names.length > length) {
      names.pop();
      rawNames.pop();
      values.pop();
    }
  }

  clone(): HeaderList {
    const copy = new HeaderList();
    copy.isChecked = this.isChecked;
    for (let i = 0; i < this.names.length; i++) copy.push(this.names[i], this.rawNames[i], this.values[i]);
    return copy;
  }

  *[Symbol.iterator](): IterableIterator<[rawName: string, value: string]> {
    for (let i = 0; i < this.names.length; i++) yield [this.rawNames[i], this.values[i]];
  }

  /** Repeated names are joined, as `joined` does; for logs and tests, not for the hot path. */
  toObject(): Record<string, string> {
    const object: Record<string, string> = Object.create(null) as Record<string, string>;
    for (const name of this.names) object[name] = this.joined(name)!;
    return object;
  }

  #deleteFrom(name: string, from: number): boolean {
    let at = this.names.indexOf(name, from);
    if (at === -1) return false;
    let kept = at;
    for (; at < this.names.length; at++) {
      if (this.names[at] === name) continue;
      this.names[kept] = this.names[at]!;
      this.rawNames[kept] = this.rawNames[at]!;
      this.values[kept] = this.values[at]!;
      kept++;
    }
    this.cutTo(kept);
    return true;
  }
}
