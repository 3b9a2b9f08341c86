/** CRC-32 (ISO 3309, as zlib's), in JavaScript: a call into zlib costs more than these keys are long. */

const TABLE = new Uint32Array(256);
for (let i = 0; i < 256; i++) {
  let value = i;
  for (let bit = 0; bit < 8; bit++) value = (value & 1) === 1 ? (value >>> 1) ^ 0xed_b8_83_20 : value >>> 1;
  TABLE[i] = value >>> 0;
}

/** Of a string as bytes of latin1, the form in which header values come from the wire; others by both bytes. */
export function crc32(text: string): number {
  let crc = 0xff_ff_ff_ff;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    crc = TABLE[(crc ^ code) & 0xff] ^ (crc >>> 8);
    if (code > 0xff) crc = TABLE[(crc ^ (code >>> 8)) & 0xff] ^ (crc >>> 8);
  }
  return (crc ^ 0xff_ff_ff_ff) >>> 0;
}

/** The CRC of the bytes that gave `start`, followed by the four bytes of `word`, lowest first. */
export function crc32Word(start: number, word: number): number {
  let crc = start ^ 0xff_ff_ff_ff;
  crc = TABLE[(crc ^ word) & 0xff] ^ (crc >>> 8);
  crc = TABLE[(crc ^ (word >>> 8)) & 0xff] ^ (crc >>> 8);
  crc = TABLE[(crc ^ (word >>> 16)) & 0xff] ^ (crc >>> 8);
  crc = TABLE[(crc ^ (word >>> 24)) & 0xff] ^ (crc >>> 8);
  return (crc ^ 0xff_ff_ff_ff) >>> 0;
}
