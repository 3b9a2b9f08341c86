/**
 * Rollouts on their way to the workers, who know nothing of them: the share in force becomes the plugin `rollout` of the
 * route or service that a rollout is on. When a rollout or its progress changes, its target is published again.
 *
 * A share that is held back here counts at once and on this node alone, whatever the store says: a canary that fails
 * must not go on because the store does not answer.
 */

import { type PublishedProgress, type PublishedRollout, WHOLE, weightInForce } from "../../model/rollout.ts";
import type { ConfigurationItem } from "../../shared/configuration-bytes.ts";
import type { ConfigurationState } from "../state.ts";

const PLUGIN = "rollout";
/** Kinds that are for control alone. */
const ROLLOUT = "rollout";
const PROGRESS = "progress";
const PLURALS = { route: "routes", service: "services" } as const;

export class RolloutItems {
  readonly #state: Pick<ConfigurationState, "get">;
  readonly #publish: (item: ConfigurationItem) => void;
  readonly #rollouts = new Map<string, PublishedRollout>();
  readonly #progress = new Map<string, PublishedProgress>();
  /** "route/1" → ids of rollouts: one, but for what others wrote into the store. */
  readonly #byTarget = new Map<string, Set<string>>();
  /** Runs without a share on this node, by rollout. */
  readonly #held = new Map<string, string>();

  /** `publish` gets items as workers do. */
  constructor(state: Pick<ConfigurationState, "get">, publish: (item: ConfigurationItem) => void) {
    this.#state = state;
    this.#publish = publish;
  }

  /** An item as the state has it. */
  take(item: ConfigurationItem): void {
    const kind: string = item.kind;
    if (kind === ROLLOUT) this.#takeRollout(item);
    else if (kind === PROGRESS) this.#takeProgress(item);
    else this.#publish(this.filled(item));
  }

  /** Everything that workers get of what the state has. */
  *published(items: Iterable<ConfigurationItem>): IterableIterator<ConfigurationItem> {
    for (const item of items) {
      const kind: string = item.kind;
      if (kind !== ROLLOUT && kind !== PROGRESS) yield this.filled(item);
    }
  }

  filled(item: ConfigurationItem): ConfigurationItem {
    if (this.#byTarget.size === 0 || item.value === null) return item;
    if (item.kind !== "route" && item.kind !== "service") return item;
    const rollout = this.#rolloutOn(item.kind, item.id);
    if (rollout === null) return item;
    const resource = JSON.parse(item.value) as { plugins?: Record<string, unknown> };
    resource.plugins = { ...resource.plugins, [PLUGIN]: this.#pluginOf(rollout) };
    return { ...item, value: JSON.stringify(resource) };
  }

  list(): Iterable<PublishedRollout> {
    return this.#rollouts.values();
  }

  get(id: string): PublishedRollout | null {
    return this.#rollouts.get(id) ?? null;
  }

  progressOf(id: string): PublishedProgress | null {
    return this.#progress.get(id) ?? null;
  }

  /** Per cent of the requests that the canary gets on this node. */
  weightOf(rollout: PublishedRollout): number {
    if (this.isHeld(rollout)) return 0;
    return weightInForce(rollout, this.progressOf(rollout.id));
  }

  isHeld(rollout: PublishedRollout): boolean {
    return this.#held.get(rollout.id) === rollout.run;
  }

  /** No request of this run goes to the canary any more, on this node. */
  hold(rollout: PublishedRollout): void {
    if (this.isHeld(rollout)) return;
    this.#held.set(rollout.id, rollout.run);
    this.#publishTarget(rollout);
  }

  #takeRollout({ id, value }: ConfigurationItem): void {
    const former = this.#rollouts.get(id);
    if (former !== undefined) {
      this.#rollouts.delete(id);
      const key = targetKey(former.target);
      const ids = this.#byTarget.get(key);
      if (ids?.delete(id) === true && ids.size === 0) this.#byTarget.delete(key);
    }
    const rollout = value === null ? null : (JSON.parse(value) as PublishedRollout);
    if (rollout === null) this.#held.delete(id);
    else {
      this.#rollouts.set(id, rollout);
      const key = targetKey(rollout.target);
      const ids = this.#byTarget.get(key);
      if (ids === undefined) this.#byTarget.set(key, new Set([id]));
      else ids.add(id);
      if (!this.isHeld(rollout)) this.#held.delete(id);
      this.#publishTarget(rollout);
    }
    if (former !== undefined && (rollout === null || targetKey(rollout.target) !== targetKey(former.target)))
      this.#publishTarget(former);
  }

  #takeProgress({ id, value }: ConfigurationItem): void {
    const rollout = this.#rollouts.get(id);
    const before = rollout === undefined ? 0 : this.weightOf(rollout);
    if (value === null) this.#progress.delete(id);
    else this.#progress.set(id, JSON.parse(value) as PublishedProgress);
    // Most of what is written is how far a step came.
    if (rollout !== undefined && this.weightOf(rollout) !== before) this.#publishTarget(rollout);
  }

  #publishTarget({ target: { kind, id } }: PublishedRollout): void {
    const value = this.#state.get(PLURALS[kind], id)?.published ?? null;
    if (value !== null) this.#publish(this.filled({ kind, id, value }));
  }

  #rolloutOn(kind: "route" | "service", id: string): PublishedRollout | null {
    const ids = this.#byTarget.get(`${kind}/${id}`);
    if (ids === undefined) return null;
    // All nodes must take the same one.
    return this.#rollouts.get([...ids].sort()[0]) ?? null;
  }

  #pluginOf(rollout: PublishedRollout): object {
    const { id, canary, stable, sticky } = rollout;
    const weight = Math.min(this.weightOf(rollout), WHOLE);
    return {
      rollout: id,
      canary,
      weight,
      ...(stable !== undefined && { stable }),
      ...(sticky !== undefined && { sticky }),
    };
  }
}

function targetKey({ kind, id }: PublishedRollout["target"]): string {
  return `${kind}/${id}`;
}
