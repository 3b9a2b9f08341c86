/**
 * IP addresses as numbers, and sets of them.
 *
 * `AddressSet` answers "is this client in these addresses and CIDR ranges?" on the hot path: an IPv4 text is
 * read into an unsigned 32-bit number and looked up without an allocation, an IPv6 text into four shared words.
 * Entries become merged, sorted ranges, so that overlap costs nothing: up to `LINEAR_RANGES` of them are
 * scanned, more are searched by halves.
 *
 * IPv4-mapped IPv6 (`::ffff:10.0.0.1`, RFC 4291 2.5.5.2), which dual-stack sockets report, is the IPv4 address, both in
 * entries and in lookups. Zones (`fe80::1%eth0`) are ignored in lookups and refused in entries. Octets with leading
 * zeros are refused (RFC 6943 3.1.1: readers disagree about octal). Names are not resolved here.
 */

/** Up to here a scan over neighbouring words beats the jumps of a binary search. */
const LINEAR_RANGES = 8;

const NOT_AN_ADDRESS = -1;
const COLON = 58;
const DOT = 46;
const ZERO = 48;
const WORDS = 4;

/** The one IPv6 address that is being looked up: four big-endian words. Lookups are synchronous. */
const looked = new Uint32Array(WORDS);

/** IPv4 text between two offsets as an unsigned number, or -1. */
function readIpv4(text: string, from: number, to: number): number {
  if (to - from < 7 || to - from > 15) return NOT_AN_ADDRESS;
  let value = 0;
  let octet = -1;
  let digits = 0;
  let dots = 0;
  for (let i = from; i < to; i++) {
    const code = text.charCodeAt(i);
    if (code === DOT) {
      if (digits === 0 || ++dots > 3) return NOT_AN_ADDRESS;
      value = value * 256 + octet;
      octet = -1;
      digits = 0;
      continue;
    }
    const digit = code - ZERO;
    if (digit < 0 || digit > 9 || octet === 0) return NOT_AN_ADDRESS;
    octet = digits === 0 ? digit : octet * 10 + digit;
    if (octet > 255) return NOT_AN_ADDRESS;
    digits++;
  }
  return dots === 3 && digits > 0 ? value * 256 + octet : NOT_AN_ADDRESS;
}

/** IPv4 text as an unsigned 32-bit number, or -1 when it is none. Allocates nothing. */
export function parseIpv4(text: string): number {
  return readIpv4(text, 0, text.length);
}

/** Reads IPv6 text (no brackets, no zone) into four words; false when it is none. Allocates nothing. */
export function parseIpv6(text: string, words: Uint32Array): boolean {
  return readIpv6(text, text.length, words);
}

function readIpv6(text: string, end: number, words: Uint32Array): boolean {
  if (end < 2 || end > 45) return false;
  words.fill(0);
  let group = 0; // groups written so far
  let gap = -1; // group at which "::" stands
  let i = 0;
  if (text.charCodeAt(0) === COLON) {
    if (text.charCodeAt(1) !== COLON) return false;
    gap = 0;
    i = 2;
  }
  while (i < end) {
    if (group === 8) return false;
    const start = i;
    let value = 0;
    for (; i < end; i++) {
      const digit = hexDigit(text.charCodeAt(i));
      if (digit === -1) break;
      value = value * 16 + digit;
    }
    if (i < end && text.charCodeAt(i) === DOT) {
      const ipv4 = group > 6 ? NOT_AN_ADDRESS : readIpv4(text, start, end);
      if (ipv4 === NOT_AN_ADDRESS) return false;
      setGroup(words, group, ipv4 >>> 16);
      setGroup(words, group + 1, ipv4 & 0xffff);
      group += 2;
      i = end;
      break;
    }
    if (i === start || i - start > 4) return false;
    setGroup(words, group++, value);
    if (i === end) break;
    if (text.charCodeAt(i) !== COLON) return false;
    i++;
    if (i === end) return false; // a single colon at the end
    if (text.charCodeAt(i) === COLON) {
      if (gap !== -1) return false;
      gap = group;
      i++;
    }
  }
  if (gap === -1) return group === 8;
  if (group === 8) return false;
  // Move what follows the gap to the end.
  const shift = 8 - group;
  for (let at = group - 1; at >= gap; at--) {
    setGroup(words, at + shift, getGroup(words, at));
    setGroup(words, at, 0);
  }
  return true;
}

function hexDigit(code: number): number {
  if (code >= ZERO && code <= 57) return code - ZERO;
  const letter = code | 32;
  return letter >= 97 && letter <= 102 ? letter - 87 : -1;
}

function getGroup(words: Uint32Array, at: number): number {
  const word = words[at >> 1];
  return at & 1 ? word & 0xffff : word >>> 16;
}

function setGroup(words: Uint32Array, at: number, value: number): void {
  const word = words[at >> 1];
  words[at >> 1] = at & 1 ? (word & 0xffff0000) | value : (word & 0xffff) | (value << 16);
}

/** True for the IPv4 addresses among IPv6 ones, `::ffff:0:0/96`. */
function isMapped(words: Uint32Array): boolean {
  return words[0] === 0 && words[1] === 0 && words[2] === 0xffff;
}

/** True for IPv4 or IPv6 text without zone, brackets or prefix length. */
export function isAddress(text: string): boolean {
  return parseIpv4(text) !== NOT_AN_ADDRESS || parseIpv6(text, looked);
}

/** True for "address/bits" with bits within the width of the family; host bits may be set. */
export function isCidr(text: string): boolean {
  return text.includes("/") && parseRange(text) !== null;
}

/** True for what an `AddressSet` takes. */
export function isAddressOrCidr(text: string): boolean {
  return parseRange(text) !== null;
}

interface AddressRange {
  isIpv6: boolean;
  low: bigint;
  high: bigint;
}

/** An address or CIDR as the range that it covers; null when it is neither. */
function parseRange(text: string): AddressRange | null {
  const slash = text.indexOf("/");
  const address = slash === -1 ? text : text.slice(0, slash);
  let width = 32;
  let value: bigint;
  let prefixOffset = 0;
  const ipv4 = parseIpv4(address);
  if (ipv4 !== NOT_AN_ADDRESS) {
    value = BigInt(ipv4);
  } else {
    if (!parseIpv6(address, looked)) return null;
    if (isMapped(looked)) {
      value = BigInt(looked[3]);
      prefixOffset = 96;
    } else {
      width = 128;
      value = 0n;
      for (const word of looked) value = (value << 32n) | BigInt(word);
    }
  }
  let bits = width;
  if (slash !== -1) {
    const digits = text.slice(slash + 1);
    if (!/^(?:0|[1-9]\d{0,2})$/.test(digits)) return null;
    bits = Number(digits) - prefixOffset;
    if (bits < 0 || bits > width) return null;
  }
  const hostMask = (1n << BigInt(width - bits)) - 1n;
  return { isIpv6: width === 128, low: value & ~hostMask, high: value | hostMask };
}

function mergeRanges(ranges: AddressRange[]): AddressRange[] {
  ranges.sort((a, b) => (a.low < b.low ? -1 : a.low > b.low ? 1 : 0));
  const merged: AddressRange[] = [];
  for (const range of ranges) {
    const last = merged.at(-1);
    if (last !== undefined && range.low <= last.high + 1n) {
      if (range.high > last.high) last.high = range.high;
    } else {
      merged.push(range);
    }
  }
  return merged;
}

const NO_WORDS = new Uint32Array(0);

/** An immutable set of IP addresses and CIDR ranges. */
export class AddressSet {
  /**
   * First and last address of each range, in order. Numbers and not a typed array: most sets hold a few ranges, there are
   * as many sets as routes, and a typed array alone takes 200 bytes.
   */
  readonly #ipv4: readonly number[];
  /** `WORDS` words per range. */
  readonly #low6: Uint32Array;
  readonly #high6: Uint32Array;

  /** Throws a RangeError that names the entry which is neither an address nor a CIDR range. */
  constructor(entries: Iterable<string>) {
    const ipv4: AddressRange[] = [];
    const ipv6: AddressRange[] = [];
    for (const entry of entries) {
      const range = parseRange(entry);
      if (range === null)
        throw new RangeError(`invalid ip address: ${entry}, expected an IP address or a CIDR range`);
      (range.isIpv6 ? ipv6 : ipv4).push(range);
    }
    const merged4 = mergeRanges(ipv4);
    this.#ipv4 = merged4.flatMap((range) => [Number(range.low), Number(range.high)]).slice();
    const merged6 = mergeRanges(ipv6);
    this.#low6 = merged6.length === 0 ? NO_WORDS : toWords(merged6.map((range) => range.low));
    this.#high6 = merged6.length === 0 ? NO_WORDS : toWords(merged6.map((range) => range.high));
  }

  /** False for text that is no address. Allocates nothing. */
  has(address: string): boolean {
    const ipv4 = parseIpv4(address);
    if (ipv4 !== NOT_AN_ADDRESS) return this.hasIpv4(ipv4);
    const zone = address.indexOf("%");
    if (!readIpv6(address, zone === -1 ? address.length : zone, looked)) return false;
    return isMapped(looked) ? this.hasIpv4(looked[3]) : this.#hasIpv6(looked);
  }

  /** As `has`, for an address that was read by `parseIpv4` before. */
  hasIpv4(address: number): boolean {
    const ranges = this.#ipv4;
    const count = ranges.length / 2;
    if (count <= LINEAR_RANGES) {
      for (let i = 0; i < ranges.length; i += 2)
        if (address >= ranges[i] && address <= ranges[i + 1]) return true;
      return false;
    }
    let from = 0;
    let to = count;
    while (from < to) {
      const middle = (from + to) >>> 1;
      if (ranges[middle * 2] <= address) from = middle + 1;
      else to = middle;
    }
    return from > 0 && address <= ranges[from * 2 - 1];
  }

  #hasIpv6(address: Uint32Array): boolean {
    const low = this.#low6;
    let from = 0;
    let to = low.length / WORDS;
    while (from < to) {
      const middle = (from + to) >>> 1;
      if (compareWords(low, middle * WORDS, address) <= 0) from = middle + 1;
      else to = middle;
    }
    return from > 0 && compareWords(this.#high6, (from - 1) * WORDS, address) >= 0;
  }
}

function compareWords(words: Uint32Array, offset: number, address: Uint32Array): number {
  for (let i = 0; i < WORDS; i++) {
    const difference = words[offset + i] - address[i];
    if (difference !== 0) return difference;
  }
  return 0;
}

function toWords(values: bigint[]): Uint32Array {
  const words = new Uint32Array(values.length * WORDS);
  for (const [at, value] of values.entries()) {
    for (let i = 0; i < WORDS; i++) {
      words[at * WORDS + i] = Number((value >> BigInt(32 * (WORDS - 1 - i))) & 0xffffffffn);
    }
  }
  return words;
}
