/**
 * The etcd as one thing: at any time one connection to one of its members, another when that one fails.
 *
 * A call is tried again only where that is safe: reads always, writes when their caller says so. A probe, a read
 * through the leader, tells every two seconds whether the cluster answers, so that a member that is paused, cut off
 * or without a leader is left within seconds although nothing is asked of it.
 */

import {
  create,
  type DescMessage,
  type DescMethodUnary,
  type MessageInitShape,
  type MessageShape,
} from "@bufbuild/protobuf";
import type { EtcdStoreConfig } from "../../config/static-config.ts";
import type { Log } from "../../lib/log.ts";
import { StoreUnavailableError } from "../contract.ts";
import { callOn, type EtcdConnection, type EtcdConnector } from "./connection.ts";
import { EtcdFault, type FaultKind, faultOf } from "./faults.ts";
import { Auth, KV, type ResponseHeader } from "./protocol/rpc_pb.ts";

export interface EtcdClientConfig extends Pick<
  EtcdStoreConfig,
  "prefix" | "timeoutMs" | "longestPauseMs" | "user"
> {
  connector: EtcdConnector;
}

export interface CallOptions {
  /** Doing it twice is the same as doing it once. */
  isRepeatable: boolean;
  /** Whoever asked should know when it may have been done although no answer came. */
  isChange?: boolean;
}

const PROBE_EVERY_MS = 2000;
/** Until a member that is asked counts as one that does not answer. */
const ATTEMPT_MS = 4000;
/** The same while nobody answers. */
const SHORT_ATTEMPT_MS = 2000;
const PROBE_ATTEMPT_MS = 2500;
const FIRST_PAUSE_MS = 100;
/** Between two attempts while the cluster chooses a leader. */
const LATER_PAUSE_MS = 150;
const TOKEN_ATTEMPTS = 3;

export class EtcdClient {
  /** Hears of each probe that was answered: when it was sent, and with which header. */
  onProbe: ((sentAt: number, header: ResponseHeader) => void) | null = null;
  readonly #config: EtcdClientConfig;
  readonly #log: Pick<Log, "info" | "warn">;
  readonly #connector: EtcdConnector;
  readonly #probeKey: Buffer;
  #channel: EtcdConnection | null = null;
  #token: Promise<string | null> | null = null;
  /** In a row, without an answer between. */
  #failures = 0;
  #isReachable = false;
  #wasReached = false;
  #isToldDown = false;
  #probeTimer: NodeJS.Timeout | null = null;
  #pauses = new Set<() => void>();
  #isClosed = false;

  constructor(config: EtcdClientConfig, log: Pick<Log, "info" | "warn">) {
    this.#config = config;
    this.#log = log;
    this.#connector = config.connector;
    this.#probeKey = Buffer.from(`${config.prefix}/`);
    this.#scheduleProbe(PROBE_EVERY_MS);
  }

  get isReachable(): boolean {
    return this.#isReachable && !this.#isClosed;
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  get endpoint(): string | null {
    return this.#channel?.url ?? null;
  }

  /** The connection to use now. Throws `EtcdFault` where none can even be begun. */
  channel(): EtcdConnection {
    if (this.#isClosed) throw new EtcdFault("refused", "the store is closed", true);
    if (this.#channel === null) {
      try {
        this.#channel = this.#connector.connect();
      } catch (error) {
        const fault = faultOf(error);
        this.#count(null, fault);
        throw fault;
      }
    }
    return this.#channel;
  }

  /**
   * Rejects with `StoreUnavailableError` when no member answers in time, and with `EtcdFault` for what the cluster
   * answers with.
   */
  async call<I extends DescMessage, O extends DescMessage>(
    method: DescMethodUnary<I, O>,
    init: MessageInitShape<I>,
    { isRepeatable, isChange = false }: CallOptions,
  ): Promise<MessageShape<O>> {
    const request = create(method.input, init);
    const end = performance.now() + this.#config.timeoutMs;
    const mostDown = Math.max(2, this.#connector.count);
    let down = 0;
    let mayBeDone = false;
    let tokens = 0;
    for (;;) {
      const leftMs = end - performance.now();
      try {
        const attemptMs = this.#isReachable ? ATTEMPT_MS : SHORT_ATTEMPT_MS;
        return await this.#attempt(method, request, Math.min(leftMs, attemptMs));
      } catch (error) {
        const fault = faultOf(error);
        if (fault.kind === "token" && tokens < TOKEN_ATTEMPTS) {
          tokens++;
          continue;
        }
        if (fault.kind !== "down" && fault.kind !== "later") throw fault;
        if (fault.kind === "down") down++;
        mayBeDone ||= isChange && !fault.isUnsent;
        const isSafe = isRepeatable || fault.isUnsent;
        if (!isSafe || down >= mostDown || end - performance.now() <= LATER_PAUSE_MS) {
          const effect = mayBeDone ? "; whether it was done is not known" : "";
          throw new StoreUnavailableError(`the etcd does not answer: ${fault.message}${effect}`, {
            cause: fault,
          });
        }
        if (fault.kind === "later" || this.#connector.count === 1) await this.pause(LATER_PAUSE_MS);
      }
    }
  }

  /** Token of the connection's user; null: there is none. */
  async token(channel: EtcdConnection): Promise<string | null> {
    if (this.#config.user === null) return null;
    this.#token ??= this.#authenticate(channel, this.#config.user);
    const asked = this.#token;
    try {
      return await asked;
    } catch (error) {
      if (this.#token === asked) this.#token = null;
      throw error;
    }
  }

  /** The member behind it answered. */
  answered(): void {
    this.#failures = 0;
    this.#wasReached = true;
    if (this.#isReachable) return;
    this.#isReachable = true;
    if (this.#isToldDown) this.#log.info("the etcd answers again", { endpoint: this.#channel?.url });
    this.#isToldDown = false;
    for (const wake of this.#pauses) wake();
  }

  /** What is to be done after a fault of this channel: leave it, or its token. */
  failed(channel: EtcdConnection, fault: EtcdFault): void {
    if (this.#isClosed) return;
    if (fault.kind === "token") this.#token = null;
    if (fault.kind !== "down" && fault.kind !== "later") return;
    // Of many calls that fail with one connection the first counts.
    if (channel.isClosed) return;
    if (channel === this.#channel) this.#channel = null;
    channel.close();
    this.#connector.failed(channel);
    this.#count(channel.url, fault);
  }

  /** Waits that long, or until the cluster answers again, or the end. */
  async pause(ms: number): Promise<void> {
    if (this.#isClosed) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, ms).unref();
    this.#pauses.add(resolve);
    await promise;
    clearTimeout(timer);
    this.#pauses.delete(resolve);
  }

  /** The longest after a refusal; else it grows with failures in a row. With some chance: a fleet must not knock in step. */
  backOffMs(kind: FaultKind): number {
    const rounds = Math.floor(this.#failures / this.#connector.count);
    const isRefused = kind === "refused" || kind === "forbidden";
    const pauseMs = isRefused ? Number.POSITIVE_INFINITY : FIRST_PAUSE_MS * 2 ** Math.min(rounds, 16);
    return Math.min(pauseMs, this.#config.longestPauseMs) * (0.5 + Math.random() / 2);
  }

  close(): void {
    this.#isClosed = true;
    if (this.#probeTimer !== null) clearTimeout(this.#probeTimer);
    this.#channel?.close();
    this.#channel = null;
    for (const wake of this.#pauses) wake();
  }

  async #attempt<I extends DescMessage, O extends DescMessage>(
    method: DescMethodUnary<I, O>,
    request: MessageShape<I>,
    deadlineMs: number,
  ): Promise<MessageShape<O>> {
    const channel = this.channel();
    try {
      const token = await this.token(channel);
      const answer = await callOn(channel, method, request, token, deadlineMs);
      this.answered();
      return answer;
    } catch (error) {
      const fault = faultOf(error);
      this.failed(channel, fault);
      throw fault;
    }
  }

  #count(url: string | null, fault: EtcdFault): void {
    this.#failures++;
    if (this.#failures < this.#connector.count) return;
    this.#isReachable = false;
    if (this.#isToldDown) return;
    this.#isToldDown = true;
    const effect = this.#wasReached ? "the configuration stays as it is" : "trying on";
    this.#log.warn(`the etcd does not answer: ${effect}`, { endpoint: url, reason: fault.message });
  }

  async #authenticate(
    channel: EtcdConnection,
    user: { name: string; password: string },
  ): Promise<string | null> {
    try {
      const request = create(Auth.method.authenticate.input, user);
      const answer = await callOn(channel, Auth.method.authenticate, request, null, ATTEMPT_MS);
      return answer.token;
    } catch (error) {
      const fault = faultOf(error);
      if (fault.kind === "no-users") return null;
      throw fault;
    }
  }

  #scheduleProbe(delayMs: number): void {
    if (this.#isClosed) return;
    this.#probeTimer = setTimeout(() => void this.#probe(), delayMs).unref();
  }

  async #probe(): Promise<void> {
    const sentAt = Date.now();
    const request = create(KV.method.range.input, { key: this.#probeKey, keysOnly: true });
    try {
      const { header } = await this.#attempt(KV.method.range, request, PROBE_ATTEMPT_MS);
      if (header !== undefined) this.onProbe?.(sentAt, header);
      this.#scheduleProbe(PROBE_EVERY_MS);
    } catch (error) {
      const { kind } = faultOf(error);
      // A token that has expired is replaced by the next one.
      if (kind === "refused" || kind === "forbidden") this.#isReachable = false;
      this.#scheduleProbe(kind === "token" ? 0 : Math.min(this.backOffMs(kind), PROBE_EVERY_MS));
    }
  }
}
