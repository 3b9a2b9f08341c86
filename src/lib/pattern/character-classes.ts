/**
 * The classes of characters that PCRE names, in their ASCII meaning: escapes such as `\w`, and POSIX names.
 */

import { complement, type CharacterSet } from "./syntax.ts";

const DIGIT: CharacterSet = [[48, 57]];
const WORD: CharacterSet = [
  [48, 57],
  [65, 90],
  [95, 95],
  [97, 122],
];
const SPACE: CharacterSet = [
  [9, 13],
  [32, 32],
];
const HORIZONTAL: CharacterSet = [
  [9, 9],
  [32, 32],
  [0xa0, 0xa0],
];
export const VERTICAL: CharacterSet = [
  [10, 13],
  [0x85, 0x85],
];
export const NEWLINE: CharacterSet = [[10, 10]];
export const NOT_NEWLINE = complement(NEWLINE);

export const CLASS_ESCAPES: Record<string, CharacterSet> = {
  d: DIGIT,
  D: complement(DIGIT),
  w: WORD,
  W: complement(WORD),
  s: SPACE,
  S: complement(SPACE),
  h: HORIZONTAL,
  H: complement(HORIZONTAL),
  v: VERTICAL,
  V: complement(VERTICAL),
};

export const CHARACTER_ESCAPES: Record<string, number> = { n: 10, r: 13, t: 9, f: 12, e: 27, a: 7 };

export const POSIX_CLASSES: Record<string, CharacterSet> = {
  alpha: [
    [65, 90],
    [97, 122],
  ],
  digit: DIGIT,
  alnum: [
    [48, 57],
    [65, 90],
    [97, 122],
  ],
  upper: [[65, 90]],
  lower: [[97, 122]],
  space: SPACE,
  blank: [
    [9, 9],
    [32, 32],
  ],
  punct: [
    [33, 47],
    [58, 64],
    [91, 96],
    [123, 126],
  ],
  print: [[32, 126]],
  graph: [[33, 126]],
  cntrl: [
    [0, 31],
    [127, 127],
  ],
  xdigit: [
    [48, 57],
    [65, 70],
    [97, 102],
  ],
  word: WORD,
  ascii: [[0, 127]],
};
