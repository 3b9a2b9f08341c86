/** Where messages of gRPC begin and end in a body: five bytes, a flag and a length, stand before each. */

const HEAD_BYTES = 5;

export class MessageBounds {
  /** Of the message under way: bytes of its head so far, the length that they say so far, and what is missing behind them. */
  #headBytes = 0;
  #length = 0;
  #missing = 0;

  /** No message is under way. */
  get isBetween(): boolean {
    return this.#headBytes === 0 && this.#missing === 0;
  }

  pass(chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length) {
      if (this.#missing > 0) {
        const step = Math.min(this.#missing, chunk.length - at);
        this.#missing -= step;
        at += step;
        continue;
      }
      if (this.#headBytes > 0) this.#length = this.#length * 256 + chunk[at];
      at++;
      if (++this.#headBytes < HEAD_BYTES) continue;
      this.#missing = this.#length;
      this.#headBytes = 0;
      this.#length = 0;
    }
  }
}
