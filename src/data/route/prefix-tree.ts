/**
 * A radix tree over text: which of the stored prefixes begin this text, longest first?
 *
 * Edges are compressed: a node holds the text between its parent and itself, so the tree has at most twice as many nodes
 * as prefixes. Children are found by their first character in `keys`, a short string: of a wide node only the child that
 * is entered is touched in memory. Inserting or removing a prefix touches the nodes on its way and nothing else.
 *
 * A lookup walks down once (`longest`) and then climbs by `shorter`; it allocates nothing. With `fromEnd` the text is
 * read backwards, which makes suffixes of hosts prefixes without reversing a string per request.
 */

/** Above so many children they are searched by halves. */
const LINEAR_CHILDREN = 8;

export class PrefixNode<Value> {
  /** Text between the parent and this node. */
  label: string;
  parent: PrefixNode<Value> | null;
  /** First characters of the children's labels, ascending. */
  keys = "";
  children: PrefixNode<Value>[] | null = null;
  /** Null for nodes that only branch. */
  value: Value | null = null;

  constructor(label: string, parent: PrefixNode<Value> | null) {
    this.label = label;
    this.parent = parent;
  }
}

export class PrefixTree<Value> {
  #root: PrefixNode<Value> | null = null;

  get isEmpty(): boolean {
    return this.#root === null;
  }

  /** The node of exactly this prefix, made if it is missing. The caller gives it a value or calls `prune`. */
  ensure(prefix: string): PrefixNode<Value> {
    if (this.#root === null) return (this.#root = new PrefixNode<Value>(prefix, null));
    let node = this.#root;
    let from = 0;
    for (;;) {
      const label = node.label;
      const shared = sharedLength(label, prefix, from);
      if (shared < label.length) node = this.#split(node, shared);
      from += shared;
      if (from === prefix.length) return node;
      const at = findKey(node.keys, prefix.charCodeAt(from));
      if (at < 0) {
        const leaf = new PrefixNode(prefix.slice(from), node);
        insertChild(node, ~at, leaf);
        return leaf;
      }
      node = node.children![at];
    }
  }

  /** The node of exactly this prefix, or null. */
  find(prefix: string): PrefixNode<Value> | null {
    let node = this.#root;
    let from = 0;
    while (node !== null) {
      const label = node.label;
      if (sharedLength(label, prefix, from) < label.length) return null;
      from += label.length;
      if (from === prefix.length) return node;
      const at = findKey(node.keys, prefix.charCodeAt(from));
      node = at < 0 ? null : node.children![at];
    }
    return null;
  }

  /** The node with a value whose prefix is the longest that begins `text`, or null. */
  longest(text: string): PrefixNode<Value> | null {
    let best: PrefixNode<Value> | null = null;
    let node = this.#root;
    let from = 0;
    const length = text.length;
    while (node !== null) {
      const label = node.label;
      const end = from + label.length;
      if (end > length) break;
      for (let i = 0; from < end; i++, from++) if (text.charCodeAt(from) !== label.charCodeAt(i)) return best;
      if (node.value !== null) best = node;
      if (from === length || node.children === null) break;
      const at = findKey(node.keys, text.charCodeAt(from));
      if (at < 0) break;
      node = node.children[at];
    }
    return best;
  }

  /** As `longest`, reading `text` from its end: prefixes were stored reversed. */
  longestFromEnd(text: string): PrefixNode<Value> | null {
    let best: PrefixNode<Value> | null = null;
    let node = this.#root;
    let left = text.length;
    while (node !== null) {
      const label = node.label;
      if (label.length > left) break;
      for (let i = 0; i < label.length; i++) if (text.charCodeAt(--left) !== label.charCodeAt(i)) return best;
      if (node.value !== null) best = node;
      if (left === 0 || node.children === null) break;
      const at = findKey(node.keys, text.charCodeAt(left - 1));
      if (at < 0) break;
      node = node.children[at];
    }
    return best;
  }

  /** Removes a node that has no value, and what its going makes superfluous. */
  prune(emptied: PrefixNode<Value>): void {
    let node = emptied;
    while (node.value === null) {
      const parent = node.parent;
      if (node.children === null) {
        if (parent === null) {
          this.#root = null;
          return;
        }
        removeChild(parent, node);
        node = parent;
        continue;
      }
      if (node.children.length === 1) {
        const child = node.children[0];
        child.label = node.label + child.label;
        child.parent = parent;
        if (parent === null) this.#root = child;
        else parent.children![findKey(parent.keys, node.label.charCodeAt(0))] = child;
      }
      return;
    }
  }

  /** Puts a node above `node` that takes the first `length` characters of its label. */
  #split(node: PrefixNode<Value>, length: number): PrefixNode<Value> {
    const parent = node.parent;
    const upper = new PrefixNode<Value>(node.label.slice(0, length), parent);
    upper.keys = node.label.charAt(length);
    upper.children = [node];
    if (parent === null) this.#root = upper;
    else parent.children![findKey(parent.keys, node.label.charCodeAt(0))] = upper;
    node.label = node.label.slice(length);
    node.parent = upper;
    return upper;
  }
}

/** The nearest node above with a value: the next shorter prefix. */
export function shorter<Value>(node: PrefixNode<Value>): PrefixNode<Value> | null {
  let up = node.parent;
  while (up !== null && up.value === null) up = up.parent;
  return up;
}

function sharedLength(label: string, text: string, from: number): number {
  const limit = Math.min(label.length, text.length - from);
  let shared = 0;
  while (shared < limit && label.charCodeAt(shared) === text.charCodeAt(from + shared)) shared++;
  return shared;
}

/** Place of `code` in the sorted `keys`, or the complement of the place where it belongs. */
function findKey(keys: string, code: number): number {
  let from = 0;
  let to = keys.length;
  if (to <= LINEAR_CHILDREN) {
    for (; from < to; from++) {
      const key = keys.charCodeAt(from);
      if (key >= code) return key === code ? from : ~from;
    }
    return ~from;
  }
  while (from < to) {
    const middle = (from + to) >>> 1;
    const key = keys.charCodeAt(middle);
    if (key === code) return middle;
    if (key < code) from = middle + 1;
    else to = middle;
  }
  return ~from;
}

function insertChild<Value>(node: PrefixNode<Value>, at: number, child: PrefixNode<Value>): void {
  if (node.children === null) node.children = [child];
  else node.children.splice(at, 0, child);
  node.keys = keysOf(node.children);
}

function removeChild<Value>(node: PrefixNode<Value>, child: PrefixNode<Value>): void {
  const children = node.children!;
  if (children.length === 1) {
    node.children = null;
    node.keys = "";
    return;
  }
  children.splice(children.indexOf(child), 1);
  node.keys = keysOf(children);
}

/** Built from character codes, since concatenation would leave a tree of strings that every lookup walks. */
function keysOf<Value>(children: PrefixNode<Value>[]): string {
  return String.fromCharCode(...children.map((child) => child.label.charCodeAt(0)));
}
