/**
 * A name for an upstream that outlives its versions: routes hold the reference, and an edited upstream takes
 * effect at their next request without touching the routes.
 */

import type { PublishedUpstream } from "../../model/published.ts";
import type { ItemBytes } from "../../shared/configuration-bytes.ts";
import type { OwnUpstream } from "../../plugin/host.ts";
import type { Upstream } from "../upstream/upstream.ts";

export type UpstreamFactory = (config: PublishedUpstream, previous: Upstream | null) => Upstream;

export class UpstreamReference implements OwnUpstream {
  readonly #create: UpstreamFactory;
  #bytes: ItemBytes | null = null;
  #config: PublishedUpstream | null = null;
  #current: Upstream | null = null;
  #isStale = false;
  #isDisposed = false;

  constructor(create: UpstreamFactory) {
    this.#create = create;
  }

  /** An upstream that stands inside a route or service. */
  static inline(create: UpstreamFactory, config: PublishedUpstream): UpstreamReference {
    const reference = new UpstreamReference(create);
    reference.#config = config;
    reference.#isStale = true;
    return reference;
  }

  /** Whether there is an upstream of that name. */
  get exists(): boolean {
    return this.get() !== null;
  }

  /** Null bytes: the upstream was deleted. */
  update(bytes: ItemBytes | null): void {
    this.#bytes = bytes;
    this.#isStale = true;
  }

  /** The upstream as it is now, compiled when first asked for; null when there is none of that name. */
  get(): Upstream | null {
    if (!this.#isStale) return this.#current;
    const config = this.#bytes === null ? this.#config : this.#bytes.parse<PublishedUpstream>();
    const previous = this.#current;
    this.#current = config === null ? null : this.#create(config, previous);
    this.#isStale = false;
    if (previous !== null && previous !== this.#current) previous.dispose();
    if (this.#isDisposed) this.#current?.dispose();
    return this.#current;
  }

  /** The version that was used last; it may be out of date. */
  get current(): Upstream | null {
    return this.#current;
  }

  /** Nothing new comes here. Requests that run may still ask, and get what they can without anyone listening. */
  dispose(): void {
    this.#isDisposed = true;
    this.#current?.dispose();
  }
}
