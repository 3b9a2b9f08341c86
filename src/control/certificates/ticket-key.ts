/**
 * The key of TLS session tickets of nodes that share a store: made by one of them, kept in the store encrypted by the keyring,
 * and replaced once a day by whichever is first. The moment stands with the key, so that all nodes look again soon after it.
 *
 * Node.js takes one key and forgets the one before: clients whose tickets it made shake hands in full once. Tickets live
 * five minutes, so these are the clients of the last five minutes.
 *
 * No history is kept of it: an old key opens old traffic of TLS 1.2. Without the store nodes go on with what they have;
 * at the start that is a key of their own.
 */

import { randomBytes } from "node:crypto";
import type { Log } from "../../lib/log.ts";
import type { FieldCipher } from "../../model/encrypted-fields.ts";
import { isObject } from "../../model/resource-type.ts";
import type { ConfigurationItem } from "../../shared/configuration-bytes.ts";
import { type Store, StoreConflictError, type StoredItem } from "../../store/contract.ts";
import { Rounds } from "../discovery/rounds.ts";

const KEY = "/cardea_ticket_key/1";
/** As Node.js wants it: name, and keys for signing and encrypting. */
const TICKET_KEY_BYTES = 48;
const DAY_MS = 86_400_000;
/** A tenth to either side. */
const SPREAD = 0.2;
/** Nodes come one after the other, so that mostly the first one writes. */
const LATE_MS = 10_000;
/** Clocks of nodes differ. A moment further in the future is none of theirs, and the key would never be replaced. */
const MAX_WAIT_MS = 2 * DAY_MS;

export interface TicketKeyParts {
  store: Pick<Store, "get" | "write">;
  cipher: FieldCipher;
  log: Log;
  now?: () => number;
  random?: () => number;
}

interface Stored {
  /** 48 bytes in base64; null: no key of the ring decrypts it. */
  key: string | null;
  /** Milliseconds since 1970. */
  rotateAt: number;
}

export class TicketKey {
  readonly #parts: TicketKeyParts;
  readonly #now: () => number;
  readonly #random: () => number;
  readonly #rounds: Rounds;
  #publish: (item: ConfigurationItem) => void = () => {};
  #item: ConfigurationItem | null = null;
  #told: string | null = null;

  constructor(parts: TicketKeyParts) {
    this.#parts = parts;
    this.#now = parts.now ?? Date.now;
    this.#random = parts.random ?? Math.random;
    this.#rounds = new Rounds({
      pauseMs: LATE_MS,
      run: () => this.#look(),
      onFailure: (reason) => {
        // It is tried again every few seconds.
        if (reason === this.#told) return;
        this.#told = reason;
        parts.log.warn("the key of session tickets is not shared; the one before serves on", { reason });
      },
    });
  }

  /** Where the key goes. Begins to look for it; ends with the first look and never rejects. */
  async start(publish: (item: ConfigurationItem) => void): Promise<void> {
    this.#publish = publish;
    await this.#rounds.now();
  }

  /** Looks again now; ends with it. */
  async look(): Promise<void> {
    await this.#rounds.now();
  }

  /** What workers have; null: each node has its own. */
  get item(): ConfigurationItem | null {
    return this.#item;
  }

  close(): void {
    this.#rounds.close();
  }

  /** Gives the pause until the next look. */
  async #look(): Promise<number> {
    const { store } = this.#parts;
    let item = await store.get(KEY);
    let stored = this.#read(item);
    // A data plane may read alone, and then waits for another node to replace it.
    if (stored !== null && stored.key !== null) this.#take(stored.key);
    if (stored === null || stored.rotateAt <= this.#now() || stored.rotateAt > this.#now() + MAX_WAIT_MS) {
      await this.#replace(item);
      item = await store.get(KEY);
      stored = this.#read(item);
    }
    if (stored === null || stored.key === null)
      throw new Error("it was encrypted with a key that the keyring does not have");
    this.#take(stored.key);
    this.#told = null;
    return Math.max(stored.rotateAt - this.#now(), 0) + this.#random() * LATE_MS;
  }

  async #replace(former: StoredItem | null): Promise<void> {
    const { store, cipher } = this.#parts;
    const rotateAt = Math.round(this.#now() + DAY_MS * (1 - SPREAD / 2 + this.#random() * SPREAD));
    const key = cipher.encrypt(randomBytes(TICKET_KEY_BYTES).toString("base64"));
    const value = JSON.stringify({ key, rotate_at: rotateAt });
    const expect = { [KEY]: former?.modRevision ?? 0 };
    try {
      await store.write([{ type: "put", key: KEY, value }], { expect, isForgotten: true });
    } catch (error) {
      // Another node was first.
      if (!(error instanceof StoreConflictError)) throw error;
    }
  }

  #take(key: string): void {
    const value = JSON.stringify({ key });
    if (this.#item?.value === value) return;
    this.#item = { kind: "ticket_key", id: "1", value };
    this.#publish(this.#item);
  }

  /** Null: there is none, or something else. */
  #read(item: StoredItem | null): Stored | null {
    if (item === null) return null;
    try {
      const value: unknown = JSON.parse(item.value);
      if (!isObject(value) || typeof value["key"] !== "string" || typeof value["rotate_at"] !== "number")
        return null;
      const key = this.#parts.cipher.decrypt(value["key"]);
      const isKey = key !== null && Buffer.from(key, "base64").length === TICKET_KEY_BYTES;
      return { key: isKey ? key : null, rotateAt: value["rotate_at"] };
    } catch {
      // No JSON: it is replaced.
      return null;
    }
  }
}
