/**
 * A buffer in which many connections gather what they are about to write, so that bodies need no string and no buffer of
 * their own: for an answer of 1 KiB that is 2.5 KB of garbage and two copies less.
 *
 * Each connection has one piece of it, which grows while nobody has put anything behind it. When all pieces have been
 * written, it begins anew. When the kernel does not take all of one, the buffer stays with that socket: it is given
 * up, and those who have pieces in it still write them.
 */

const STAGE_BYTES = 128 * 1024;

export class Stage {
  /** The one that takes new pieces. */
  static current = new Stage();

  readonly #buffer = Buffer.allocUnsafeSlow(STAGE_BYTES);
  #used = 0;
  #pieces = 0;

  /** Where the next byte goes; a new piece begins there. */
  get end(): number {
    return this.#used;
  }

  hasRoom(bytes: number): boolean {
    return this.#used + bytes <= STAGE_BYTES;
  }

  begin(): void {
    this.#pieces++;
  }

  text(text: string): void {
    this.#used += this.#buffer.write(text, this.#used, "latin1");
  }

  chunk(chunk: Buffer): void {
    this.#buffer.set(chunk, this.#used);
    this.#used += chunk.length;
  }

  piece(from: number, to: number): Buffer {
    return this.#buffer.subarray(from, to);
  }

  /** A piece was written. `isWhole`: the kernel has all of it. */
  finish(isWhole: boolean): void {
    if (!isWhole && Stage.current === this) Stage.current = new Stage();
    if (--this.#pieces === 0) this.#used = 0;
  }
}
