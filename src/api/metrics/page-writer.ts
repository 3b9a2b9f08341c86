/**
 * Writes the text of a metrics page into large buffers, line by line, without making strings of it.
 *
 * Label texts are copied as bytes from where the workers wrote them; the lines of a histogram copy what they have
 * in common from the line before. A full buffer is put aside for the caller (`take`), who may give it back when it
 * was sent (`recycle`): a page of 100 MB then needs a few buffers. A line of a histogram costs about 0.1 µs.
 */

const CHUNK_BYTES = 262_144;
/** Buffers kept for later. */
const SPARE_CHUNKS = 4;
/** Longest value and the end of its line: `String` of a number has at most 24 characters, then there are fixed ones. */
const VALUE_BYTES = 32;
const LARGEST_BY_DIGITS = 1e9;
const NEW_LINE = 10;

/** Where label texts stand. */
export interface LabelBytes {
  readonly bytes: Uint8Array;
  textStart(record: number): number;
  textEnd(record: number): number;
}

export class PageWriter {
  #chunk = newChunk();
  #at = 0;
  #full: Buffer[] = [];
  readonly #spare: Buffer[] = [];
  /** Labels of every line, as `a="b"`. */
  readonly #constant: Uint8Array;
  /** Where the common part of the lines of a histogram stands in the buffer; -1: in another buffer. */
  #commonAt = -1;

  /** `constant`: labels of every line that has labels by `sample` and `bucket`, as `a="b",c="d"`. */
  constructor(constant = "") {
    this.#constant = Buffer.from(constant);
  }

  /** Short texts: names, labels of facts. */
  text(text: string): void {
    const room = Buffer.byteLength(text);
    if (room <= CHUNK_BYTES) {
      this.#reserve(room);
      this.#at += this.#chunk.write(text, this.#at);
    } else {
      this.#flush();
      this.#full.push(Buffer.from(text));
    }
  }

  /** A sample's value and the end of its line. */
  value(value: number): void {
    this.#reserve(VALUE_BYTES);
    this.#value(value);
  }

  /** A line: `head` is the name; then the labels of the record in braces, if there are any; then the value. */
  sample(head: Uint8Array, labels: LabelBytes, record: number, value: number): void {
    const start = labels.textStart(record);
    const end = labels.textEnd(record);
    const constant = this.#constant;
    this.#reserve(head.length + constant.length + end - start + 5 + VALUE_BYTES);
    this.#put(head);
    if (start !== end || constant.length > 0) {
      this.#chunk[this.#at++] = 123;
      this.#put(constant);
      if (start !== end && constant.length > 0) this.#chunk[this.#at++] = 44;
      this.#copy(labels, start, end);
      this.#chunk[this.#at++] = 125;
    }
    this.#chunk[this.#at++] = 32;
    this.#value(value);
  }

  /** The next buckets are of another record. */
  beginBuckets(): void {
    this.#commonAt = -1;
  }

  /** A line of a bucket: `head{labels,` then `tail`, which is `le="1"} `, then the count. */
  bucket(head: Uint8Array, labels: LabelBytes, record: number, tail: Uint8Array, count: number): void {
    const start = labels.textStart(record);
    const end = labels.textEnd(record);
    const constant = this.#constant;
    const constantBytes = constant.length === 0 ? 0 : constant.length + 1;
    const commonBytes = head.length + 1 + constantBytes + (start === end ? 0 : end - start + 1);
    this.#reserve(commonBytes + tail.length + VALUE_BYTES);
    if (this.#commonAt === -1) {
      this.#commonAt = this.#at;
      this.#put(head);
      this.#chunk[this.#at++] = 123;
      if (constantBytes > 0) {
        this.#put(constant);
        this.#chunk[this.#at++] = 44;
      }
      if (start !== end) {
        this.#copy(labels, start, end);
        this.#chunk[this.#at++] = 44;
      }
    } else {
      this.#chunk.copyWithin(this.#at, this.#commonAt, this.#commonAt + commonBytes);
      this.#commonAt = this.#at;
      this.#at += commonBytes;
    }
    for (let i = 0; i < tail.length; i++) this.#chunk[this.#at++] = tail[i];
    this.#value(count);
  }

  /** Whole buffers that are ready; with `all`, also the one being written. */
  take(all: boolean): Buffer[] {
    if (all) this.#flush();
    const full = this.#full;
    this.#full = [];
    return full;
  }

  /** The bytes of this buffer are nobody's any more. */
  recycle(chunk: Buffer): void {
    const whole = chunk.buffer;
    if (whole.byteLength === CHUNK_BYTES && this.#spare.length < SPARE_CHUNKS)
      this.#spare.push(Buffer.from(whole));
  }

  #put(bytes: Uint8Array): void {
    this.#chunk.set(bytes, this.#at);
    this.#at += bytes.length;
  }

  #copy(labels: LabelBytes, start: number, end: number): void {
    this.#chunk.set(labels.bytes.subarray(start, end), this.#at);
    this.#at += end - start;
  }

  #value(value: number): void {
    if (value >= 0 && value < LARGEST_BY_DIGITS && Number.isInteger(value)) this.#digits(value);
    else this.#at += this.#chunk.write(numberText(value), this.#at, "latin1");
    this.#chunk[this.#at++] = NEW_LINE;
  }

  #digits(value: number): void {
    let length = 1;
    for (let bound = 10; value >= bound; bound *= 10) length++;
    let rest = value;
    for (let i = this.#at + length - 1; i >= this.#at; i--) {
      this.#chunk[i] = 48 + (rest % 10);
      rest = (rest / 10) | 0;
    }
    this.#at += length;
  }

  /** Lines are shorter than a buffer: label texts are bounded by their writer (8 KiB). */
  #reserve(bytes: number): void {
    if (this.#at + bytes > CHUNK_BYTES) this.#flush();
  }

  #flush(): void {
    if (this.#at === 0) return;
    this.#full.push(this.#chunk.subarray(0, this.#at));
    this.#chunk = this.#spare.pop() ?? newChunk();
    this.#at = 0;
    this.#commonAt = -1;
  }
}

function newChunk(): Buffer {
  return Buffer.allocUnsafeSlow(CHUNK_BYTES);
}

export function numberText(value: number): string {
  if (value === Infinity) return "+Inf";
  if (value === -Infinity) return "-Inf";
  return String(value);
}
