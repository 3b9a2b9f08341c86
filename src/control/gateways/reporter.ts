/**
 * Tells the other gateways of the store how this one is, and above all which nodes it has left: at once when a drain of all
 * gateways comes, as it goes on, and now and then otherwise, so that the report does not end.
 *
 * A gateway that may not write its report is not waited for by who takes nodes out; the log says so. One that is cut off
 * from the store is waited for as long as its report lives; one that was stopped takes its report with it.
 */

import { hostname } from "node:os";
import type { Log } from "../../lib/log.ts";
import { VERSION } from "../../lib/version.ts";
import type { NodeReports } from "../../store/contract.ts";
import { Rounds } from "../discovery/rounds.ts";
import type { Drains, SharedDrain } from "../health/drains.ts";
import { hasEnded, isSibling } from "./gateway-id.ts";
import { type DrainReport, type GatewayReport, reportText } from "./report.ts";

/** Of a gateway that is gone without a word, or cut off. */
const REPORT_LIFE_S = 600;
const LOOK_EVERY_MS = 20_000;
/** While something runs on a node that is taken out. */
const LOOK_SOON_MS = 100;
/** Between two reports of which only counts differ: a hundred gateways with a busy node would keep an etcd busy as well. */
const COUNTS_EVERY_MS = 1000;
/** Even if nothing is new. */
const RENEW_AFTER_MS = 120_000;
/** A report has to fit into an etcd; drains beyond are not acknowledged. */
const MAX_DRAINS = 5000;
/** The end of the node does not wait longer. */
const REMOVE_WITHIN_MS = 2000;

export interface ReporterParts {
  id: string;
  reports: NodeReports;
  drains: Pick<Drains, "listShared" | "state" | "onShared">;
  revisions(): { publishedRevision: number; appliedRevision: number };
  log: Pick<Log, "warn" | "info">;
  /** Monotonic milliseconds. */
  now?: () => number;
}

export class GatewayReporter {
  readonly #parts: ReporterParts;
  readonly #rounds: Rounds;
  readonly #startedAt = Math.floor(Date.now() / 1000);
  /** By the ids of resources: what was found last. */
  #drains: Record<string, DrainReport> = {};
  #told = "";
  #toldAtMs = -RENEW_AFTER_MS;
  /** Since the last report drains came, went or ended. */
  #isUrgent = true;
  #hasTidied = false;
  #tidiedAtMs = -COUNTS_EVERY_MS;
  #telling: Promise<number> | null = null;
  #isClosed = false;
  #isFailing = false;

  constructor(parts: ReporterParts) {
    this.#parts = parts;
    this.#rounds = new Rounds({
      run: () => (this.#telling = this.#tell()),
      pauseMs: LOOK_EVERY_MS,
      onFailure: (reason) => this.#failed(reason),
    });
  }

  start(): void {
    this.#parts.drains.onShared = () => void this.#rounds.now();
    void this.#rounds.now();
  }

  /** Nobody has to wait for this gateway any more. Never rejects. */
  async close(): Promise<void> {
    this.#parts.drains.onShared = null;
    this.#rounds.close();
    this.#isClosed = true;
    const { promise: late, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, REMOVE_WITHIN_MS);
    await Promise.race([this.#remove(), late]);
    clearTimeout(timer);
  }

  /** Behind a report that is on its way: it would be there for good. */
  async #remove(): Promise<void> {
    const { id, reports } = this.#parts;
    try {
      await this.#telling?.catch(() => {});
      await reports.remove(id);
    } catch {
      // It ends by itself.
    }
  }

  /** Gives the pause until the next time. */
  async #tell(): Promise<number> {
    const { id, reports } = this.#parts;
    const isPending = await this.#look();
    const report: GatewayReport = {
      id,
      hostname: hostname(),
      version: VERSION,
      startedAt: this.#startedAt,
      ...this.#parts.revisions(),
      drains: this.#drains,
    };
    const text = reportText(report);
    const now = (this.#parts.now ?? (() => performance.now()))();
    const sinceMs = now - this.#toldAtMs;
    if (this.#isClosed) return LOOK_EVERY_MS;
    const isDue = this.#isUrgent || sinceMs >= COUNTS_EVERY_MS;
    if ((isDue && text !== this.#told) || sinceMs > RENEW_AFTER_MS) {
      await reports.put(id, text, REPORT_LIFE_S);
      this.#isUrgent = false;
      this.#told = text;
      this.#toldAtMs = now;
    }
    if (this.#isFailing) this.#parts.log.info("the store takes the report of this gateway again");
    this.#isFailing = false;
    if (!this.#hasTidied && now - this.#tidiedAtMs >= COUNTS_EVERY_MS) {
      this.#tidiedAtMs = now;
      await this.#tidy();
    }
    return isPending ? LOOK_SOON_MS : LOOK_EVERY_MS;
  }

  /** What was drained once stays so. True: something runs still. */
  async #look(): Promise<boolean> {
    const drains = [...this.#parts.drains.listShared()].slice(0, MAX_DRAINS);
    const found = await Promise.all(drains.map((each) => this.#lookAt(each)));
    const former = this.#drains;
    this.#drains = Object.fromEntries(found);
    const isSame = ([id, { mark, isDrained }]: [string, DrainReport]): boolean =>
      former[id]?.mark === mark && former[id].isDrained === isDrained;
    if (found.length !== Object.keys(former).length || !found.every(isSame)) this.#isUrgent = true;
    return found.some(([, { isDrained }]) => !isDrained);
  }

  async #lookAt({ id, mark, upstream, host, port }: SharedDrain): Promise<[string, DrainReport]> {
    const known = this.#drains[id];
    if (known?.mark === mark && known.isDrained) return [id, known];
    const state = await this.#parts.drains.state(upstream, host, port);
    return [id, { mark, ...state }];
  }

  /** A process of this folder that ended without a word told something that nobody takes back. One may be about to end. */
  async #tidy(): Promise<void> {
    const { id, reports } = this.#parts;
    let isAlone = true;
    for (const other of (await reports.list()).keys()) {
      if (!isSibling(other, id)) continue;
      if (hasEnded(other)) await reports.remove(other);
      else isAlone = false;
    }
    this.#hasTidied = isAlone;
  }

  #failed(reason: string): void {
    if (this.#isFailing) return;
    this.#isFailing = true;
    const effect = "who takes nodes out on all gateways does not wait for this one, or waits in vain";
    this.#parts.log.warn(`the store does not take the report of this gateway: ${effect}`, { reason });
  }
}
