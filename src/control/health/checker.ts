/**
 * The health checker of a node: probes the nodes of every upstream with `checks`, once per machine however many
 * workers there are, and keeps the table in shared memory that their balancers read.
 *
 * It follows the published configuration item by item (`take`): checking starts with the configuration, not
 * with the first request. A target that stays over an edit keeps its state, its counts and its place in time;
 * so do all targets when control is started again, since the table outlives it, and for a minute when the node
 * is (`saved-states.ts`). Results of requests come into the same table from the workers themselves.
 *
 * It never throws for anything that a configuration or a target may hold, and what fails is a result.
 */

import type { Log } from "../../lib/log.ts";
import {
  type ActiveChecks,
  type HealthChecks,
  healthChecksOf,
  healthResourceOf,
} from "../../model/health-checks.ts";
import type { PublishedAddress, PublishedUpstream } from "../../model/published.ts";
import { isSecure, speaksHttp2 } from "../../model/schemes.ts";
import type { ConfigurationItem } from "../../shared/configuration-bytes.ts";
import type { HealthRegistry } from "../../shared/health-registry.ts";
import { isUp, STATE_NAMES, stateOf } from "../../shared/health-state.ts";
import { healthKey } from "../../shared/health-table.ts";
import { startGrpcProbe } from "./grpc-probe.ts";
import { keyOfItem, upstreamOfItem } from "./items.ts";
import { type Probe, type ProbeOutcome, probeRequest, startProbe } from "./probe.ts";
import { ProbeTrust } from "./probe-trust.ts";
import { resultOf } from "./result.ts";
import type { SavedStates } from "./saved-states.ts";
import { ProbeTimes } from "./schedule.ts";
import { type Target, targetsOf } from "./targets.ts";

export interface CheckerParts {
  registry: HealthRegistry;
  /** States of the node before this one; null: none are kept. */
  saved: SavedStates | null;
  log: Log;
  /** Who signs the certificates of targets: "system", and paths of PEM files. Absent: "system". */
  authorities?: readonly string[];
  /** Monotonic milliseconds. */
  now?: () => number;
  /** [0, 1) */
  random?: () => number;
}

/** One target of one resource. */
export interface CheckedTarget extends Target {
  readonly slot: number;
  readonly generation: number;
}

interface Probed extends CheckedTarget {
  readonly request: Buffer | null;
  readonly times: ProbeTimes;
  /** By the table, when it was looked at last. */
  isUp: boolean;
  timer: NodeJS.Timeout | null;
  probe: Probe | null;
  isWaiting: boolean;
}

interface Checked {
  readonly key: string;
  upstream: PublishedUpstream;
  checks: HealthChecks;
  /** `checks` as text: equal ones let the targets be. */
  checksText: string;
  targets: Map<string, Probed>;
  running: number;
  /** Targets that are due, beyond `concurrency`. */
  waiting: Probed[];
}

/** Sockets of probes that are open at the same time, over all upstreams. */
const MAX_RUNNING = 1000;
/** How long a look at the table may take to come, when nobody wakes the checker. */
const LOOK_MS = 1000;

export class HealthChecker {
  readonly #registry: HealthRegistry;
  readonly #saved: SavedStates | null;
  readonly #trust: ProbeTrust;
  readonly #log: Log;
  readonly #now: () => number;
  readonly #random: () => number;
  readonly #checked = new Map<string, Checked>();
  readonly #addresses = new Map<string, readonly string[]>();
  /** Upstreams by the names among their hosts. */
  readonly #byName = new Map<string, Set<Checked>>();
  #running = 0;
  #isStarted = false;
  #isClosed = false;
  #isFullTold = false;

  constructor(parts: CheckerParts) {
    this.#registry = parts.registry;
    this.#saved = parts.saved;
    this.#trust = new ProbeTrust(parts.authorities);
    this.#log = parts.log;
    this.#now = parts.now ?? (() => performance.now());
    this.#random = parts.random ?? Math.random;
  }

  /** An item as it is published to workers; to be called before it is. */
  take(item: ConfigurationItem): void {
    if (item.kind === "address") this.#takeAddress(item);
    this.#trust.take(item);
    const key = keyOfItem(item);
    if (key === null) return;
    this.put(key, upstreamOfItem(item, '"checks"'));
  }

  /** The upstream with that health key, or none any more. */
  put(key: string, upstream: PublishedUpstream | null): void {
    if (upstream === null || upstream.checks === undefined) this.#remove(key);
    else this.#put(key, upstream);
  }

  /** The whole configuration was taken: what nobody claimed is let go, and probes begin. */
  start(): void {
    if (this.#isStarted) return;
    this.#isStarted = true;
    this.#registry.releaseUnclaimed();
    for (const checked of this.#checked.values()) {
      for (const target of checked.targets.values()) this.#arm(checked, target);
    }
    void this.#look();
  }

  close(): void {
    this.#isClosed = true;
    for (const checked of this.#checked.values()) {
      for (const target of checked.targets.values()) stop(target);
    }
    this.#registry.table.announce();
    this.#saved?.write(this.#states());
  }

  /** Targets of the resource with this store key ("/upstreams/1"), in the order of the nodes. */
  targetsOf(key: string): Iterable<CheckedTarget> {
    return this.#checked.get(key)?.targets.values() ?? [];
  }

  /** Store keys of all resources that are checked. */
  keys(): Iterable<string> {
    return this.#checked.keys();
  }

  #takeAddress({ id, value }: ConfigurationItem): void {
    if (value === null) this.#addresses.delete(id);
    else this.#addresses.set(id, (JSON.parse(value) as PublishedAddress).addresses);
    for (const checked of this.#byName.get(id) ?? []) this.#retarget(checked);
  }

  #put(key: string, upstream: PublishedUpstream): void {
    const checks = healthChecksOf(upstream);
    if (checks === null) {
      this.#remove(key);
      return;
    }
    const checksText = JSON.stringify([checks, upstream.scheme, upstream.tls]);
    let checked = this.#checked.get(key);
    if (checked === undefined) {
      const targets = new Map<string, Probed>();
      checked = { key, upstream, checks, checksText, targets, running: 0, waiting: [] };
      this.#checked.set(key, checked);
    } else {
      this.#forgetNames(checked);
      if (checked.checksText !== checksText) {
        // The slots stay, and with them the states; timers and requests are made anew.
        for (const target of checked.targets.values()) stop(target);
        checked.checksText = checksText;
        checked.waiting = [];
      }
      checked.upstream = upstream;
      checked.checks = checks;
    }
    for (const { host } of upstream.nodes) {
      const users = this.#byName.get(host);
      if (users === undefined) this.#byName.set(host, new Set([checked]));
      else users.add(checked);
    }
    this.#retarget(checked);
  }

  #remove(key: string): void {
    const checked = this.#checked.get(key);
    if (checked === undefined) return;
    this.#checked.delete(key);
    this.#forgetNames(checked);
    for (const target of checked.targets.values()) {
      stop(target);
      this.#registry.release(target.slot);
    }
    checked.targets.clear();
  }

  #forgetNames(checked: Checked): void {
    for (const { host } of checked.upstream.nodes) {
      const users = this.#byName.get(host);
      if (users?.delete(checked) === true && users.size === 0) this.#byName.delete(host);
    }
  }

  /** Brings the targets to what nodes and addresses say now. */
  #retarget(checked: Checked): void {
    const { upstream, checks, targets: before } = checked;
    const resource = healthResourceOf({ ...upstream, health_key: checked.key }) ?? checked.key;
    const targets = new Map<string, Probed>();
    for (const [name, target] of targetsOf(upstream, checks, (host) => this.#addresses.get(host) ?? [])) {
      const former = before.get(name);
      if (former !== undefined && former.timer !== null && former.hostHeader === target.hostHeader) {
        targets.set(name, former);
        continue;
      }
      if (former !== undefined) stop(former);
      const probed = this.#claim(resource, checks.active, target);
      if (probed !== null) targets.set(name, probed);
    }
    checked.targets = targets;
    for (const [name, former] of before) {
      if (targets.has(name)) continue;
      stop(former);
      this.#registry.release(former.slot);
    }
    if (this.#isStarted) {
      for (const target of targets.values()) if (target.timer === null) this.#arm(checked, target);
    }
  }

  #claim(resource: string, active: ActiveChecks, target: Target): Probed | null {
    const { table } = this.#registry;
    const key = healthKey(resource, target.address, target.port, target.host);
    const slot = this.#registry.claim(key, this.#saved?.take(key) ?? 0);
    if (slot === -1) {
      if (!this.#isFullTold) this.#log.error("the table of health checks is full: nodes are not checked");
      this.#isFullTold = true;
      return null;
    }
    const isNodeUp = table.isUp(slot);
    return {
      ...target,
      slot,
      generation: table.generation(slot),
      request: probeRequest(target, active),
      times: new ProbeTimes(intervalMs(active, isNodeUp), this.#now(), this.#random),
      isUp: isNodeUp,
      timer: null,
      probe: null,
      isWaiting: false,
    };
  }

  #arm(checked: Checked, target: Probed): void {
    if (this.#isClosed) return;
    const delayMs = Math.max(0, target.times.nextMs - this.#now());
    target.timer = setTimeout(() => this.#due(checked, target), delayMs);
  }

  #due(checked: Checked, target: Probed): void {
    if (target.probe !== null || target.isWaiting) return;
    if (checked.running < checked.checks.active.concurrency && this.#running < MAX_RUNNING) {
      this.#probe(checked, target);
    } else {
      target.isWaiting = true;
      checked.waiting.push(target);
    }
  }

  #probe(checked: Checked, target: Probed): void {
    const { active } = checked.checks;
    checked.running++;
    this.#running++;
    let isDone = false;
    const again = (): void => {
      target.probe = null;
      target.times.advance(this.#now(), intervalMs(active, target.isUp));
      this.#arm(checked, target);
      this.#next(checked);
    };
    const free = (): void => {
      if (isDone) return;
      isDone = true;
      checked.running--;
      this.#running--;
    };
    const done = (outcome: ProbeOutcome): void => {
      if (isDone) return;
      free();
      this.#takeOutcome(checked, target, outcome);
      again();
    };
    let probe: Probe;
    try {
      probe = begin(checked.upstream, target, active, this.#trust, done);
    } catch (error) {
      // A client key that is a reference to a secret, say, is none for OpenSSL. It says nothing about the node.
      this.#log.error("a node cannot be probed", { resource: checked.key, reason: String(error) });
      free();
      again();
      return;
    }
    target.probe = {
      abort() {
        free();
        probe.abort();
      },
    };
  }

  /** A place is free. Where all places of the node were taken, those of other upstreams wait for a second at most. */
  #next(checked: Checked): void {
    while (checked.waiting.length > 0 && checked.running < checked.checks.active.concurrency) {
      if (this.#running >= MAX_RUNNING) return;
      const target = checked.waiting.shift()!;
      if (!target.isWaiting) continue;
      target.isWaiting = false;
      this.#probe(checked, target);
    }
  }

  #takeOutcome({ key, checks }: Checked, target: Probed, outcome: ProbeOutcome): void {
    const found = resultOf(checks.active, outcome);
    if (found === null) return;
    const { table } = this.#registry;
    const { slot, generation } = target;
    table.report(slot, generation, found.result, found.limit);
    this.#note(key, target, outcome);
  }

  /** Tells when a target went up or down since it was looked at, by whomever. True: it did. */
  #note(key: string, target: Probed, outcome: ProbeOutcome | null): boolean {
    const word = this.#registry.table.word(target.slot);
    if (isUp(word) === target.isUp) return false;
    target.isUp = isUp(word);
    const { address, port } = target;
    const by = outcome === null ? { by: "requests" } : { by: "probe", ...outcome };
    const message = target.isUp ? "a node is healthy again" : "a node is unhealthy";
    this.#log.warn(message, { resource: key, address, port, state: STATE_NAMES[stateOf(word)], ...by });
    this.#saved?.writeSoon(() => this.#states());
    return true;
  }

  /** Follows what workers report: a node that requests found down is probed at the interval of such nodes. */
  async #look(): Promise<void> {
    const { table } = this.#registry;
    while (!this.#isClosed) {
      const seen = table.changes;
      for (const checked of this.#checked.values()) {
        for (const target of checked.targets.values()) {
          if (!this.#note(checked.key, target, null) || target.probe !== null || target.isWaiting) continue;
          target.times.advance(this.#now(), intervalMs(checked.checks.active, target.isUp));
          if (target.timer !== null) clearTimeout(target.timer);
          this.#arm(checked, target);
        }
        this.#next(checked);
      }
      await table.whenChanged(seen, LOOK_MS);
    }
  }

  /** What is worth keeping: all but nodes that nothing is known against. */
  *#states(): IterableIterator<{ slot: number; word: number }> {
    const { table } = this.#registry;
    for (const { targets } of this.#checked.values()) {
      for (const { slot } of targets.values()) yield { slot, word: table.word(slot) };
    }
  }
}

function stop(target: Probed): void {
  if (target.timer !== null) clearTimeout(target.timer);
  target.timer = null;
  target.isWaiting = false;
  target.probe?.abort();
  target.probe = null;
}

/** Throws when what TLS needs cannot be had: that says nothing about the node. */
function begin(
  upstream: PublishedUpstream,
  target: Probed,
  active: ActiveChecks,
  trust: ProbeTrust,
  done: (outcome: ProbeOutcome) => void,
): Probe {
  const isGrpc = active.type === "grpc";
  const isTls = isGrpc ? speaksHttp2(upstream.scheme) && isSecure(upstream.scheme) : active.type === "https";
  const context = isTls ? trust.contextFor(upstream, active.https_verify_certificate) : null;
  return isGrpc
    ? startGrpcProbe(target, active, context, done)
    : startProbe(target, active, target.request, context, done);
}

function intervalMs(active: ActiveChecks, isNodeUp: boolean): number {
  return (isNodeUp ? active.healthy : active.unhealthy).interval * 1000;
}
