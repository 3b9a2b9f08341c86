/**
 * What `ssls` need beside their own text: OCSP answers for stapling. Taken in control for all workers, kept in memory
 * alone, and published with the resource whenever it changes.
 *
 * An item waits for nothing: it is published at once with what is there.
 */

import type { FactFamily, FactSample } from "../../api/metrics/exposition.ts";
import type { Log } from "../../lib/log.ts";
import type { PublishedSsl, Staple } from "../../model/published.ts";
import type { ConfigurationItem } from "../../shared/configuration-bytes.ts";
import { RegistryClient } from "../discovery/registry-client.ts";
import { type FetchPlan, FetchedValues } from "./fetched-values.ts";
import { ocspPlan } from "./ocsp/plan.ts";

export interface CertificateSupplyParts {
  /** A listener of this node that is none for traffic: certificates and resources open no way there. */
  isOwnListener?: (url: URL) => boolean;
  log: Log;
}

interface Holder {
  /** As the state has it. */
  readonly ssl: PublishedSsl;
  /** As workers have it, JSON. */
  shown: string;
}

/** Samples of one family. */
const MAX_SAMPLES = 1000;

export class CertificateSupply {
  readonly #log: Log;
  readonly #isOwnListener: (url: URL) => boolean;
  readonly #client = new RegistryClient();
  readonly #values: FetchedValues;
  /** Those that need anything, by id. */
  readonly #holders = new Map<string, Holder>();
  #publish: (item: ConfigurationItem) => void = () => {};

  constructor({ isOwnListener = () => false, log }: CertificateSupplyParts) {
    this.#log = log;
    this.#isOwnListener = isOwnListener;
    this.#values = new FetchedValues({
      onAnswer: (users) => {
        for (const id of users) this.#refill(id);
      },
      onFailure: ({ type, shown }, reason) =>
        this.#log.warn("a source of certificates fails; what it gave last serves on", {
          type,
          source: shown,
          reason,
        }),
    });
  }

  /** Where items go when what they need has changed. */
  connect(publish: (item: ConfigurationItem) => void): void {
    this.#publish = publish;
  }

  /** An item as the state has it; gives it as it is published. */
  take(item: ConfigurationItem): ConfigurationItem {
    const { kind, id, value } = item;
    if (kind !== "ssl") return item;
    const ssl = value === null ? null : (JSON.parse(value) as PublishedSsl);
    if (ssl === null || !isInNeed(ssl)) {
      this.#holders.delete(id);
      this.#values.use(id, []);
      return item;
    }
    const shown = this.#filled(id, ssl);
    this.#holders.set(id, { ssl, shown });
    return { kind, id, value: shown };
  }

  /** The same for an item that was taken before. */
  filled(item: ConfigurationItem): ConfigurationItem {
    const holder = item.kind === "ssl" ? this.#holders.get(item.id) : undefined;
    return holder === undefined ? item : { ...item, value: holder.shown };
  }

  families(nowMs: number = Date.now()): FactFamily[] {
    const ages: FactSample[] = [];
    const failures: FactSample[] = [];
    for (const { type, shown, fetchedAt, failures: count } of this.#values.list()) {
      if (failures.length === MAX_SAMPLES) break;
      const labels = { type, source: shown };
      failures.push({ labels, value: count });
      if (fetchedAt !== null) ages.push({ labels, value: Math.max(0, nowMs - fetchedAt) / 1000 });
    }
    const families: FactFamily[] = [
      {
        name: "ssl_source_age_seconds",
        type: "gauge",
        help: "Time since a source of certificates answered",
        samples: ages,
      },
      {
        name: "ssl_source_failures_total",
        type: "counter",
        help: "Questions to a source of certificates that failed",
        samples: failures,
      },
    ];
    return families.filter(({ samples }) => samples.length > 0);
  }

  close(): void {
    this.#values.close();
    this.#client.close();
  }

  #refill(id: string): void {
    const holder = this.#holders.get(id);
    if (holder === undefined) return;
    const shown = this.#filled(id, holder.ssl);
    if (shown === holder.shown) return;
    holder.shown = shown;
    this.#publish({ kind: "ssl", id, value: shown });
  }

  #filled(id: string, { ocsp, ...ssl }: PublishedSsl): string {
    if (ocsp === undefined || !ssl.enabled) {
      this.#values.use(id, []);
      return JSON.stringify(ssl);
    }
    const plans = ssl.pairs.map(({ cert }) => ocspPlan(cert, ocsp, this.#client, this.#isOwnListener));
    this.#values.use(id, plans);
    return JSON.stringify({ ...ssl, staples: plans.map((plan) => this.#staple(plan)) });
  }

  #staple({ key }: FetchPlan): Staple | null {
    const value = this.#values.value(key);
    return value === null ? null : (JSON.parse(value) as Staple);
  }
}

function isInNeed({ ocsp }: PublishedSsl): boolean {
  return ocsp !== undefined;
}
