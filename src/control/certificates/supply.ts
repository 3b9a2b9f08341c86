/**
 * What `ssls` need beside their own text: values of references (`$env://`, `$secret://`), certificates and keys on other
 * servers (`source`), OCSP answers. Taken in control for all workers, kept in memory alone, published with the resource
 * whenever it changes, and asked for again before it is too old.
 *
 * What was got last serves on while a source is down. What a source gives and cannot be used (a key of another
 * certificate, say) is as if it were down. A resource that is changed to something that has to be asked for
 * first stays as it was until there is a good answer, unless it now asks other things of clients.
 */

import { createHash } from "node:crypto";
import type { FactFamily, FactSample } from "../fact-families.ts";
import { readAuthorities } from "../../lib/authorities.ts";
import { resolveReference } from "../../lib/environment-reference.ts";
import type { Log } from "../../lib/log.ts";
import type { PublishedSsl, Staple } from "../../model/published.ts";
import type { JsonObject } from "../../model/resource-type.ts";
import type { ConfigurationItem } from "../../shared/configuration-bytes.ts";
import { RegistryClient } from "../discovery/registry-client.ts";
import { type FetchedReport, type FetchPlan, FetchedValues } from "./fetched-values.ts";
import { ocspPlan } from "./ocsp/plan.ts";
import { isCertificate, isPair, remotePlan } from "./remote.ts";
import { secretPlan, secretReference } from "./vault.ts";

export interface CertificateSupplyParts {
  /** The plain `secrets` resource with this id; undefined: there is none that can be used. */
  secretOf: (id: string) => JsonObject | undefined;
  /** Who signs the certificates of sources: "system", and paths of PEM files. */
  authorities?: readonly string[];
  /** A listener of this node that is none for traffic: certificates and resources open no way there. */
  isOwnListener?: (url: URL) => boolean;
  log: Log;
}

type Pair = PublishedSsl["pairs"][number];

interface Holder {
  /** As the state has it. */
  readonly ssl: PublishedSsl;
  /** Says where the pairs come from. */
  readonly origin: string;
  /** What was got last and could be used. */
  pairs: Pair[] | null;
  /** The same of `client.ca`. */
  authority: string | null;
  /** As workers have it, JSON. */
  shown: string;
  /** That is what was there before the resource came to need anything. */
  stays: boolean;
}

interface Filling {
  shown: string;
  /** There are no pairs that can be used. */
  isMissing: boolean;
}

/** Samples of one family. */
const MAX_SAMPLES = 1000;
/** Resources that a line of the log names. */
const MAX_USERS_TOLD = 10;

export class CertificateSupply {
  readonly #parts: CertificateSupplyParts;
  readonly #client = new RegistryClient();
  readonly #values: FetchedValues;
  /** Those that need anything, by id. */
  readonly #holders = new Map<string, Holder>();
  /** What workers have of the others: the state's own texts. */
  readonly #plain = new Map<string, string>();
  readonly #sources;
  #authorities: string[] | null = null;
  /** What had not answered when the configuration was loaded; null: it is not yet. */
  #awaited: Set<FetchedReport> | null = null;
  #publish: (item: ConfigurationItem) => void = () => {};

  constructor(parts: CertificateSupplyParts) {
    const { secretOf, isOwnListener = () => false, log } = parts;
    this.#parts = parts;
    this.#sources = {
      secretOf,
      client: this.#client,
      authorities: () => (this.#authorities ??= readAuthorities(parts.authorities ?? ["system"])),
      isOwn: isOwnListener,
    };
    this.#values = new FetchedValues({
      onAnswer: (users) => {
        for (const id of users) this.#refill(id);
      },
      onFailure: ({ type, shown, fetchedAt, users }, reason) =>
        log.warn("a source of certificates fails", {
          type,
          source: shown,
          reason,
          ssls: [...users].slice(0, MAX_USERS_TOLD),
          meanwhile: fetchedAt === null ? "it has given nothing yet" : "what it gave last serves on",
        }),
    });
  }

  /** Where items go when what they need has changed. */
  connect(publish: (item: ConfigurationItem) => void): void {
    this.#publish = publish;
  }

  /** An item as the state has it; gives it as it is published. Null: not yet, what workers have stays. */
  take(item: ConfigurationItem): ConfigurationItem | null {
    const { kind, id, value } = item;
    if (kind !== "ssl") return item;
    const before = this.#holders.get(id);
    const shownBefore = before?.shown ?? this.#plain.get(id);
    const ssl = value === null ? null : (JSON.parse(value) as PublishedSsl);
    if (ssl === null || !isInNeed(ssl)) {
      this.#holders.delete(id);
      this.#values.use(id, []);
      if (value === null) this.#plain.delete(id);
      else this.#plain.set(id, value);
      return item;
    }
    this.#plain.delete(id);
    const origin = originOf(ssl);
    const { pairs, authority } = before?.origin === origin ? before : { pairs: null, authority: null };
    const holder: Holder = { ssl, origin, pairs, authority, shown: "", stays: false };
    this.#holders.set(id, holder);
    const { shown, isMissing } = this.#fill(id, holder);
    holder.stays = isMissing && shownBefore !== undefined && asksTheSame(ssl, shownBefore);
    holder.shown = holder.stays ? shownBefore! : shown;
    return holder.stays ? null : { kind, id, value: shown };
  }

  /** The same for an item that was taken before. */
  filled(item: ConfigurationItem): ConfigurationItem {
    const holder = item.kind === "ssl" ? this.#holders.get(item.id) : undefined;
    return holder === undefined ? item : { ...item, value: holder.shown };
  }

  /** What workers have of a resource that needs anything; undefined: it needs nothing. */
  shownOf(id: string): string | undefined {
    return this.#holders.get(id)?.shown;
  }

  /** Resources of secrets are others than before. Ends when all were asked. */
  async secretsChanged(): Promise<void> {
    await this.#values.refresh("secret");
  }

  /** The whole configuration was taken. What is written from now on takes no node out of service while it is slow. */
  loaded(): void {
    this.#awaited ??= new Set(this.#values.list());
  }

  /** Why the node must get no traffic yet; null: every source of what it began with was asked once. */
  objection(): string | null {
    for (const report of this.#awaited ?? this.#values.list()) {
      const { type, shown, fetchedAt, failures, users } = report;
      if (type !== "ocsp" && fetchedAt === null && failures === 0 && users.size > 0)
        return `certificates: ${shown} has not answered yet`;
      this.#awaited?.delete(report);
    }
    return null;
  }

  families(nowMs: number = Date.now()): FactFamily[] {
    const ages: FactSample[] = [];
    const failures: FactSample[] = [];
    for (const { type, shown, fetchedAt, failures: count } of sourcesShown(this.#values.list())) {
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
    const { shown, isMissing } = this.#fill(id, holder);
    if ((holder.stays && isMissing) || shown === holder.shown) return;
    holder.stays = false;
    holder.shown = shown;
    this.#publish({ kind: "ssl", id, value: shown });
  }

  #fill(id: string, holder: Holder): Filling {
    const { ocsp, source, ...ssl } = holder.ssl;
    const plans: FetchPlan[] = [];
    if (!ssl.enabled) {
      this.#values.use(id, plans);
      return { shown: JSON.stringify(ssl), isMissing: false };
    }
    const got = source === undefined ? this.#pairs(ssl.pairs, plans) : this.#remotePair(source, plans);
    const ca = ssl.client === undefined ? undefined : this.#value(ssl.client.ca, plans);
    if (got?.every(({ cert, key }) => isPair(cert, key)) === true) holder.pairs = got;
    else if (got !== null)
      this.#parts.log.warn("a certificate and a key from elsewhere cannot be used together", { ssl: id });
    const { pairs } = holder;
    // References that lead nowhere stay: the worker that needs them says so.
    const published: PublishedSsl = { ...ssl, pairs: pairs ?? ssl.pairs };
    if (ca != null && isCertificate(ca)) holder.authority = ca;
    if (ssl.client !== undefined && holder.authority !== null)
      published.client = { ...ssl.client, ca: holder.authority };
    published.supply = { origin: holder.origin, isMissing: pairs === null };
    if (ocsp !== undefined && pairs !== null) {
      const { client, isOwn } = this.#sources;
      const answers = pairs.map(({ cert }) => ocspPlan(cert, ocsp, client, isOwn));
      plans.push(...answers);
      published.staples = answers.map((plan) => this.#staple(plan));
    }
    this.#values.use(id, plans);
    return { shown: JSON.stringify(published), isMissing: pairs === null };
  }

  #staple({ key }: FetchPlan): Staple | null {
    const value = this.#values.value(key);
    return value === null ? null : (JSON.parse(value) as Staple);
  }

  /** Null: something is missing. */
  #pairs(pairs: readonly Pair[], plans: FetchPlan[]): Pair[] | null {
    const values = pairs.map(({ cert, key }) => ({
      cert: this.#value(cert, plans),
      key: this.#value(key, plans),
    }));
    const isWhole = values.every(({ cert, key }) => cert !== null && key !== null);
    return isWhole ? (values as Pair[]) : null;
  }

  #remotePair(source: NonNullable<PublishedSsl["source"]>, plans: FetchPlan[]): Pair[] | null {
    const plan = remotePlan(source, this.#sources);
    plans.push(plan);
    const value = this.#values.value(plan.key);
    return value === null ? null : [JSON.parse(value) as Pair];
  }

  /** The text itself when it is no reference; null: there is no value (yet). */
  #value(text: string, plans: FetchPlan[]): string | null {
    const reference = secretReference(text);
    if (reference === null) return resolveReference(text) ?? null;
    const plan = secretPlan(reference, this.#sources);
    plans.push(plan);
    const value = this.#values.value(plan.key);
    const field = value === null ? null : (JSON.parse(value) as JsonObject)[reference.field];
    return typeof field === "string" ? field : null;
  }
}

type ShownSource = Pick<FetchedReport, "type" | "shown" | "fetchedAt" | "failures">;

/**
 * One for each type and shown text: the same URL may be asked with several authorities or credentials, and a series
 * must not stand twice on a page. Failures add up; the oldest answer counts.
 */
function sourcesShown(reports: Iterable<FetchedReport>): Iterable<ShownSource> {
  const shownOnce = new Map<string, ShownSource>();
  for (const { type, shown, fetchedAt, failures } of reports) {
    const key = `${type} ${shown}`;
    const known = shownOnce.get(key);
    if (known === undefined) {
      shownOnce.set(key, { type, shown, fetchedAt, failures });
      continue;
    }
    known.failures += failures;
    if (fetchedAt !== null) known.fetchedAt = Math.min(fetchedAt, known.fetchedAt ?? fetchedAt);
  }
  return shownOnce.values();
}

function isInNeed({ pairs, client, ocsp, source }: PublishedSsl): boolean {
  return (
    ocsp !== undefined ||
    source !== undefined ||
    pairs.some(({ cert, key }) => cert.startsWith("$") || key.startsWith("$")) ||
    client?.ca.startsWith("$") === true
  );
}

/** A digest: a URL may have a secret in it. */
function originOf({ pairs, source, client }: PublishedSsl): string {
  const ca = client?.ca.startsWith("$") === true ? client.ca : null;
  return createHash("sha256")
    .update(JSON.stringify([pairs, source?.url, ca]))
    .digest("base64url");
}

/** Of clients: to keep the former state must not guard less than what is wanted now. */
function asksTheSame(ssl: PublishedSsl, shown: string): boolean {
  const former = JSON.parse(shown) as PublishedSsl;
  const isReference = ssl.client?.ca.startsWith("$") === true;
  const guard = ({ client, enabled, names }: PublishedSsl): string =>
    JSON.stringify([client && (isReference ? { ...client, ca: "" } : client), enabled, names]);
  return guard(ssl) === guard(former);
}
