/**
 * The first packet of an MQTT connection, CONNECT, read as far as the client identifier.
 *
 * MQTT 3.1.1 (OASIS, section 3.1) and 5.0 (section 3.1); 3.1, whose protocol is called MQIsdp, has the same layout as 3.1.1.
 * Nothing is taken for granted: a length that leads out of the packet makes it malformed.
 */

export interface ConnectPacket {
  protocolName: string;
  protocolLevel: number;
  /** "": the server is to choose one. */
  clientId: string;
}

/** A number: so many bytes are needed from the start before more can be said. */
export type ConnectResult = ConnectPacket | "malformed" | number;

/** Type and flags of CONNECT; all other flags are reserved. */
const CONNECT = 0x10;
const LEVEL_5 = 5;
/** Type, and the first byte of the remaining length. */
const LEAST_HEADER_BYTES = 2;
const MAX_LENGTH_BYTES = 4;
/** Level, flags and keep-alive. */
const FIXED_FIELD_BYTES = 4;

export function readConnect(bytes: Buffer): ConnectResult {
  if (bytes.length < LEAST_HEADER_BYTES) return LEAST_HEADER_BYTES;
  if (bytes[0] !== CONNECT) return "malformed";
  const remaining = readLength(bytes, 1);
  if (typeof remaining !== "object") return remaining;
  const end = remaining.end + remaining.value;
  const name = readText(bytes, remaining.end, end);
  if (typeof name !== "object") return name;
  let at = name.end + FIXED_FIELD_BYTES;
  if (at > end) return "malformed";
  if (bytes.length < at) return at;
  const protocolLevel = bytes[name.end];
  if (protocolLevel === LEVEL_5) {
    const properties = readLength(bytes, at);
    if (typeof properties !== "object") return properties;
    at = properties.end + properties.value;
  }
  const clientId = readText(bytes, at, end);
  if (typeof clientId !== "object") return clientId;
  return { protocolName: name.value, protocolLevel, clientId: clientId.value };
}

interface Read<T> {
  value: T;
  /** Where it ends. */
  end: number;
}

/** A variable byte integer (MQTT 5.0 section 1.5.5). */
function readLength(bytes: Buffer, from: number): Read<number> | "malformed" | number {
  let value = 0;
  for (let i = 0; i < MAX_LENGTH_BYTES; i++) {
    const at = from + i;
    if (at >= bytes.length) return at + 1;
    value += (bytes[at] & 0x7f) * 128 ** i;
    if (bytes[at] < 0x80) return { value, end: at + 1 };
  }
  return "malformed";
}

/** Text behind its length in two bytes (MQTT 5.0 section 1.5.4); `limit`: where the packet ends. */
function readText(bytes: Buffer, from: number, limit: number): Read<string> | "malformed" | number {
  const start = from + 2;
  if (start > limit) return "malformed";
  if (bytes.length < start) return start;
  const end = start + bytes.readUInt16BE(from);
  if (end > limit) return "malformed";
  if (bytes.length < end) return end;
  return { value: bytes.toString("utf8", start, end), end };
}
