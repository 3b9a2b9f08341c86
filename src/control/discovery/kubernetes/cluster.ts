/**
 * The endpoints of one Kubernetes cluster, listed once and then watched from there: the list in pages, bookmarks that move
 * the version on, a new list when the server has forgotten it (410). What a cluster lists is replaced as a whole when a new
 * list is complete, so that a list that breaks off takes nothing away.
 *
 * Source: https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes
 */

import { existsSync, readFileSync } from "node:fs";
import type { KubernetesDiscoveryConfig } from "../../../config/discovery.ts";
import type { DiscoveredNode } from "../node-source.ts";
import {
  isRecord,
  type RegistryClient,
  type RegistryQuestion,
  RegistryStatusError,
} from "../registry-client.ts";
import { retryMs } from "../rounds.ts";
import { listedService, type NodesByPort } from "./endpoints.ts";

const PAGE = 500;
/** What lists more, or never comes to an end, is not believed. */
const MAX_OBJECTS = 200_000;
/** The server ends a watch after it; a part of it by chance, so that not all clients come again at once. */
const WATCH_S = 1800;
const WATCH_SPREAD_S = 600;
/** Bookmarks come about every minute: a watch that is silent for longer is dead. */
const SILENCE_MS = 300_000;
const CONNECT_MS = 5000;
const READ_MS = 10_000;
/** Least time between two watches or lists, more of it with each watch that ends at once. */
const PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 5000;
const SHORT_WATCH_MS = 1000;
const GONE = 410;
const AUTHORITY = "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt";

/** "namespace/service" → by object. */
type Services = Map<string, Map<string, NodesByPort>>;

export interface ClusterParts {
  config: KubernetesDiscoveryConfig;
  client: RegistryClient;
  /** Everything was listed. */
  onListed(): void;
  /** "namespace/service" is other than before. */
  onChange(service: string): void;
  /** A word came that nothing else has changed. */
  onQuiet(): void;
  onFailure(reason: string): void;
}

export class Cluster {
  readonly config: KubernetesDiscoveryConfig;
  readonly #parts: ClusterParts;
  readonly #end = new AbortController();
  /** Of the watch that runs. */
  #watch = new AbortController();
  #services: Services | null = null;
  /** Null: everything has to be listed. */
  #version: string | null = null;
  #isStarted = false;
  #listWaiters: (() => void)[] = [];

  constructor(parts: ClusterParts) {
    this.config = parts.config;
    this.#parts = parts;
  }

  start(): void {
    if (this.#isStarted) return;
    this.#isStarted = true;
    void this.#follow();
  }

  /** Lists everything anew; ends when that has been tried. */
  refresh(): Promise<void> {
    if (!this.#isStarted || this.#end.signal.aborted) return Promise.resolve();
    this.#version = null;
    this.#watch.abort();
    return new Promise((resolve) => this.#listWaiters.push(resolve));
  }

  /** `service`: "namespace/name". Null: nothing was listed yet. */
  nodesOf(service: string, port: string): DiscoveredNode[] | null {
    if (this.#services === null) return null;
    const nodes: DiscoveredNode[] = [];
    for (const object of this.#services.get(service)?.values() ?? []) nodes.push(...(object.get(port) ?? []));
    return nodes.sort((a, b) => (a.host < b.host ? -1 : a.host > b.host ? 1 : a.port - b.port));
  }

  close(): void {
    this.#end.abort();
    this.#watch.abort();
    for (const resolve of this.#listWaiters.splice(0)) resolve();
  }

  async #follow(): Promise<void> {
    const end = this.#end.signal;
    let failures = 0;
    let short = 0;
    while (!end.aborted) {
      let pauseMs = PAUSE_MS;
      try {
        if (this.#version === null || this.#listWaiters.length > 0) await this.#list();
        const begun = performance.now();
        await this.#watchOn();
        failures = 0;
        short = performance.now() - begun < SHORT_WATCH_MS ? short + 1 : 0;
        pauseMs = Math.min(PAUSE_MS * 2 ** Math.max(0, Math.min(short, 10) - 1), LONGEST_PAUSE_MS);
      } catch (error) {
        if (end.aborted) return;
        const isRefused = error instanceof RegistryStatusError;
        const isGone = isRefused && error.status === GONE;
        // A server that refuses the watch may never take this version again: one that was set up anew has others.
        if (isRefused) this.#version = null;
        if (isGone && failures === 0) failures++;
        // A watch that ends since somebody wants a new list did not fail.
        else if (this.#listWaiters.length === 0) {
          pauseMs = retryMs(failures++, Math.random);
          this.#parts.onFailure((error as Error).message);
        }
      }
      await this.#pause(pauseMs);
    }
  }

  async #list(): Promise<void> {
    const waiters = this.#listWaiters.splice(0);
    try {
      const services: Services = new Map();
      let version = "";
      let next = "";
      let objects = 0;
      do {
        const url = this.#url();
        url.searchParams.set("limit", String(PAGE));
        if (next !== "") url.searchParams.set("continue", next);
        const value = await this.#parts.client.askJson(this.#question(url, READ_MS, this.#end.signal));
        const metadata = isRecord(value) ? value["metadata"] : undefined;
        const items = isRecord(value) ? value["items"] : undefined;
        const found = isRecord(metadata) ? metadata["resourceVersion"] : undefined;
        // Lists of nothing are null in some versions.
        if (!isRecord(metadata) || typeof found !== "string" || (!Array.isArray(items) && items !== null)) {
          throw new Error(`${url.host}: an answer that is no list`);
        }
        // Pages without an object have an end, too.
        objects += Math.max(PAGE, items?.length ?? 0);
        if (objects > MAX_OBJECTS) throw new Error(`${url.host}: a list of more than ${MAX_OBJECTS} objects`);
        for (const item of items ?? []) this.#put(services, item);
        version = found;
        next = typeof metadata["continue"] === "string" ? metadata["continue"] : "";
      } while (next !== "");
      this.#services = services;
      this.#version = version;
      this.#parts.onListed();
    } finally {
      for (const resolve of waiters) resolve();
    }
  }

  /** Ends when the server ends the watch; throws when it has to be begun otherwise. */
  async #watchOn(): Promise<void> {
    // Somebody wants a new list.
    if (this.#version === null || this.#listWaiters.length > 0) return;
    this.#watch = new AbortController();
    const url = this.#url();
    const query = url.searchParams;
    query.set("watch", "true");
    query.set("allowWatchBookmarks", "true");
    query.set("resourceVersion", this.#version);
    query.set("timeoutSeconds", String(WATCH_S + Math.floor(Math.random() * WATCH_SPREAD_S)));
    const { signal } = this.#watch;
    const faults: Error[] = [];
    const onLine = (line: string): void => {
      if (faults.length > 0 || signal.aborted || line.trim() === "") return;
      const fault = this.#take(line, url.host);
      if (fault === null) return;
      faults.push(fault);
      this.#watch.abort();
    };
    try {
      const question = { ...this.#question(url, SILENCE_MS, signal), headMs: READ_MS };
      await this.#parts.client.readLines(question, onLine);
    } catch (error) {
      throw faults[0] ?? error;
    }
    if (faults.length > 0) throw faults[0];
  }

  /** One event; gives why the watch cannot go on, null: it can. */
  #take(line: string, host: string): Error | null {
    let event: unknown;
    try {
      event = JSON.parse(line);
    } catch {
      // Told below, with all else that is no event.
    }
    const object = isRecord(event) ? event["object"] : undefined;
    if (!isRecord(event) || !isRecord(object)) {
      // What was missed is in the next list.
      this.#version = null;
      return new Error(`${host}: a watch with what is no event`);
    }
    if (event["type"] === "ERROR") return new RegistryStatusError(host, Number(object["code"]) || GONE);
    const metadata = object["metadata"];
    const version = isRecord(metadata) ? metadata["resourceVersion"] : undefined;
    if (typeof version === "string" && this.#version !== null) this.#version = version;
    if (event["type"] !== "BOOKMARK") {
      const changed = this.#put(this.#services!, object, event["type"] === "DELETED");
      if (changed !== null) this.#parts.onChange(changed);
    }
    this.#parts.onQuiet();
    return null;
  }

  /** Gives "namespace/service"; null: it is none that counts. */
  #put(services: Services, object: unknown, isDeleted = false): string | null {
    const listed = listedService(object, this.config.usesSlices, this.config.weight);
    if (listed === null || !this.#isSelected(listed.namespace)) return null;
    const key = `${listed.namespace}/${listed.service}`;
    let objects = services.get(key);
    if (objects === undefined) services.set(key, (objects = new Map()));
    if (isDeleted) objects.delete(listed.object);
    else objects.set(listed.object, listed.nodes);
    if (objects.size === 0) services.delete(key);
    return key;
  }

  #isSelected(namespace: string): boolean {
    const { match, notMatch } = this.config.namespaces;
    if (match !== null) return match.some((pattern) => pattern.test(namespace));
    return notMatch === null || !notMatch.some((pattern) => pattern.test(namespace));
  }

  #url(): URL {
    const { server, usesSlices, namespaces, labelSelector } = this.config;
    const path = usesSlices ? "/apis/discovery.k8s.io/v1/endpointslices" : "/api/v1/endpoints";
    const url = new URL(path, server);
    if (namespaces.equal !== null)
      url.searchParams.set("fieldSelector", `metadata.namespace=${namespaces.equal}`);
    if (namespaces.notEqual !== null)
      url.searchParams.set("fieldSelector", `metadata.namespace!=${namespaces.notEqual}`);
    if (labelSelector !== null) url.searchParams.set("labelSelector", labelSelector);
    return url;
  }

  /** The token may change at any time: a file of it is read each time. */
  #question(url: URL, readMs: number, signal: AbortSignal): RegistryQuestion {
    const { token, tokenFile, isVerified } = this.config;
    const bearer = token ?? readFileSync(tokenFile!, "utf8").trim();
    const headers: Record<string, string> = bearer === "" ? {} : { authorization: `Bearer ${bearer}` };
    const ca = isVerified && existsSync(AUTHORITY) ? readFileSync(AUTHORITY, "utf8") : undefined;
    return { url, headers, timeouts: { connectMs: CONNECT_MS, readMs }, isVerified, ca, signal };
  }

  /** Ends early when a new list is wanted. */
  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const look = setInterval(() => {
        if (this.#listWaiters.length > 0 || this.#end.signal.aborted) end();
      }, PAUSE_MS);
      const end = (): void => {
        clearInterval(look);
        clearTimeout(timer);
        resolve();
      };
      const timer = setTimeout(end, ms);
      timer.unref();
      look.unref();
    });
  }
}
