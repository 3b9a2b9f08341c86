/**
 * One watch of the prefix, kept up over lost connections: it goes on behind the last change that it delivered, on
 * whichever member answers, after making sure that the cluster is still the same. Where it cannot go on (the past
 * was compacted, or the cluster is a restored one) it asks its listener to load anew, and is over.
 *
 * Where the prefix is quiet and others are not, etcd tells now and then up to where there was nothing, so that a
 * broken connection need not go back into what is compacted.
 *
 * etcd gives all changes of a revision together, in order; a large one in fragments, which are put together here.
 */

import type { Log } from "../../lib/log.ts";
import { type StoreEvent, type StoreListener, StoreUnavailableError } from "../contract.ts";
import type { EtcdClient } from "./client.ts";
import { type EtcdConnection, type OpenStream, streamOn } from "./connection.ts";
import { EtcdFault, faultOf, faultOfReason } from "./faults.ts";
import { endOf, itemOf, storeKeyOf } from "./keys.ts";
import type { Landmark } from "./landmark.ts";
import { type Event, Watch, type WatchRequestSchema, type WatchResponse } from "./protocol/rpc_pb.ts";

/** Without an answer to the request for a watch the member counts as one that does not answer. */
const CREATE_TIMEOUT_MS = 4000;
const DELETE = 1;

type Stream = OpenStream<typeof WatchRequestSchema>;

export class EtcdWatch {
  readonly #client: EtcdClient;
  readonly #landmark: Landmark;
  readonly #prefix: string;
  readonly #listener: StoreListener;
  readonly #log: Pick<Log, "warn">;
  readonly #signal: AbortSignal;
  readonly #rangeEnd: Buffer;
  /** Revision up to which the listener has been told everything. */
  #told: number;
  /** The newest that it has heard of: beyond it there was nothing for it. */
  #heard: number;
  #stream: Stream | null = null;
  /** When it began to stand without a break; null: it does not stand. */
  #standsSince: number | null = null;
  #events: Event[] = [];
  #waiters: { revision: number; resolve(): void }[] = [];
  #isOver = false;

  constructor(
    client: EtcdClient,
    landmark: Landmark,
    prefix: string,
    from: number,
    listener: StoreListener,
    signal: AbortSignal,
    log: Pick<Log, "warn">,
  ) {
    this.#client = client;
    this.#landmark = landmark;
    this.#prefix = prefix;
    this.#listener = listener;
    this.#signal = signal;
    this.#log = log;
    this.#told = from;
    this.#heard = from;
    this.#rangeEnd = endOf(`${prefix}/`);
    signal.addEventListener("abort", () => this.end(), { once: true });
  }

  get heard(): number {
    return this.#heard;
  }

  /** Milliseconds since 1970; null: it does not stand now. */
  get standsSince(): number | null {
    return this.#standsSince;
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  /** Never rejects; ends when the watch is over. */
  async run(): Promise<void> {
    while (!this.#isOver) {
      try {
        if (!(await this.#landmark.isThere(this.#client, this.#told))) {
          this.#resync();
          return;
        }
        await this.#follow();
      } catch (error) {
        if (this.#isOver || this.#client.isClosed) return;
        const fault = faultOf(error instanceof StoreUnavailableError ? error.cause : error);
        if (fault.kind === "forbidden" || fault.kind === "refused") {
          this.#log.warn("the etcd refuses the watch; trying again", { reason: fault.message });
        }
        await this.#client.pause(this.#client.backOffMs(fault.kind));
      }
    }
  }

  end(): void {
    this.#isOver = true;
    this.#standsSince = null;
    this.#stream?.cancel();
    for (const { resolve } of this.#waiters.splice(0)) resolve();
  }

  /** Loads anew are asked for when a probe shows another cluster while the stream stands. */
  distrust(): void {
    if (!this.#isOver) this.#resync();
  }

  /** Ends when the listener has been told of `revision`, or the watch is over. */
  async reached(revision: number): Promise<void> {
    if (this.#isOver || this.#told >= revision) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#waiters.push({ revision, resolve });
    await promise;
  }

  /** Delivers until the stream ends; rejects with `EtcdFault`. */
  async #follow(): Promise<void> {
    const channel = this.#client.channel();
    try {
      const token = await this.#client.token(channel);
      if (this.#isOver) return;
      await this.#deliver(channel, token);
    } catch (error) {
      const fault = faultOf(error);
      this.#client.failed(channel, fault);
      throw fault;
    } finally {
      this.#standsSince = null;
      this.#stream = null;
    }
  }

  #deliver(channel: EtcdConnection, token: string | null): Promise<void> {
    return new Promise((resolve, reject) => {
      let stream: Stream | null = null;
      const end = (fault: EtcdFault | null) => {
        clearTimeout(timer);
        if (fault === null) resolve();
        else reject(fault);
        stream?.cancel();
      };
      const timer = setTimeout(() => {
        end(new EtcdFault("down", "no answer to the request for a watch"));
      }, CREATE_TIMEOUT_MS);
      this.#events = [];
      const onAnswer = (answer: WatchResponse): void => {
        clearTimeout(timer);
        if (this.#isOver) {
          end(null);
          return;
        }
        if (answer.compactRevision > 0n) {
          end(null);
          this.#resync();
        } else if (answer.canceled) {
          end(faultOfReason(answer.cancelReason));
        } else {
          this.#take(answer);
        }
      };
      try {
        stream = streamOn(channel, Watch.method.watch, token, onAnswer, end);
      } catch (error) {
        end(faultOf(error));
        return;
      }
      this.#stream = stream;
      const value = {
        key: Buffer.from(`${this.#prefix}/`),
        rangeEnd: this.#rangeEnd,
        startRevision: BigInt(this.#told + 1),
        progressNotify: true,
        fragment: true,
      };
      stream.send({ requestUnion: { case: "createRequest", value } });
    });
  }

  #take(answer: WatchResponse): void {
    if (answer.created) {
      this.#standsSince = Date.now();
      this.#client.answered();
    }
    // Without changes and not the first: up to this revision there were none.
    else if (answer.events.length === 0 && !answer.fragment && this.#events.length === 0) {
      this.#reach(Math.max(this.#told, Number(answer.header?.revision ?? 0n)));
    }
    for (const event of answer.events) this.#events.push(event);
    if (answer.fragment || this.#events.length === 0) return;
    const events = this.#events;
    this.#events = [];
    for (let i = 0; i < events.length && !this.#isOver;) {
      const revision = events[i].kv!.modRevision;
      let end = i + 1;
      while (end < events.length && events[end].kv!.modRevision === revision) end++;
      if (Number(revision) > this.#told) this.#tell(Number(revision), events.slice(i, end));
      i = end;
    }
  }

  #tell(revision: number, events: readonly Event[]): void {
    const told: StoreEvent[] = events.map(({ type, kv }) => {
      if (type === DELETE)
        return { type: "delete", key: storeKeyOf(kv!.key, this.#prefix), modRevision: revision };
      return { type: "put", item: itemOf(kv!, this.#prefix) };
    });
    for (const event of told) if (event.type === "put") this.#landmark.saw(event.item);
    this.#heard = revision;
    this.#listener.onChange({ revision, events: told });
    this.#reach(revision);
  }

  #reach(revision: number): void {
    this.#told = revision;
    if (this.#waiters.length === 0) return;
    this.#waiters = this.#waiters.filter((waiter) => {
      if (waiter.revision > revision) return true;
      waiter.resolve();
      return false;
    });
  }

  #resync(): void {
    this.end();
    if (!this.#signal.aborted) this.#listener.onResync();
  }
}
