/** A resource of the shared bytes that is parsed when it is first needed. */

import type { ItemBytes } from "../../shared/configuration-bytes.ts";

export class Lazy<T> {
  readonly bytes: ItemBytes;
  #value: T | null = null;

  constructor(bytes: ItemBytes) {
    this.bytes = bytes;
  }

  get value(): T {
    return (this.#value ??= this.bytes.parse<T>());
  }
}
