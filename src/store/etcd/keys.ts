/** Keys and values of etcd as those of the store: without the prefix, as text, with revisions as numbers. */

import type { StoredItem } from "../contract.ts";
import type { KeyValue } from "./protocol/rpc_pb.ts";

/** End of the range of all keys that begin with `prefix`. */
export function endOf(prefix: string): Buffer {
  const end = Buffer.from(prefix);
  // UTF-8 has no byte 0xff.
  end[end.length - 1]++;
  return end;
}

/** The first key behind this one. */
export function afterKey(key: Uint8Array): Buffer {
  const next = Buffer.alloc(key.length + 1);
  next.set(key);
  return next;
}

/** Bytes that are no text become replacement characters: no JSON, and no longer the same, but nothing of ours either. */
export function textOf(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("utf8");
}

export function storeKeyOf(key: Uint8Array, prefix: string): string {
  return textOf(key).slice(prefix.length);
}

export function itemOf(kv: KeyValue, prefix: string): StoredItem {
  return {
    key: storeKeyOf(kv.key, prefix),
    value: textOf(kv.value),
    createRevision: Number(kv.createRevision),
    modRevision: Number(kv.modRevision),
  };
}
