/**
 * A client, or a server, of HTTP/2 for tests that writes what frames it likes, right or wrong (RFC 9113 section 4 and 6),
 * and reads the other side's. Header blocks are literals without Huffman coding and without the table (RFC 7541 6.2.2).
 */

import { once } from "node:events";
import { connect, type Socket } from "node:net";

export const DATA = 0;
export const HEADERS = 1;
export const RST_STREAM = 3;
export const SETTINGS = 4;
export const PING = 6;
export const GOAWAY = 7;
export const WINDOW_UPDATE = 8;
export const CONTINUATION = 9;

export const END_STREAM = 1;
export const END_HEADERS = 4;
const ACK = 1;

const FRAME_HEAD_BYTES = 9;
const PREFACE = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "latin1");
const EMPTY = Buffer.alloc(0);
/** RFC 7541 6.1: entry 8 of the static table. */
const STATUS_200 = Buffer.from([0x88]);

export interface Frame {
  type: number;
  flags: number;
  stream: number;
  payload: Buffer;
}

export function frame(type: number, flags: number, stream: number, payload: Buffer = EMPTY): Buffer {
  const head = Buffer.alloc(FRAME_HEAD_BYTES);
  head.writeUIntBE(payload.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

/** Payload of one number of 32 bits: a window's increment, a code of an error. */
export function word(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

export function block(fields: readonly (readonly [string, string])[]): Buffer {
  return Buffer.concat(fields.flatMap(([name, value]) => [Buffer.from([0]), text(name), text(value)]));
}

/** A whole GET without a body. */
export function get(stream: number, path = "/", more: readonly (readonly [string, string])[] = []): Buffer {
  return frame(HEADERS, END_HEADERS | END_STREAM, stream, block([...pseudo("GET", path), ...more]));
}

/** The head of an answer with status 200, and nothing after it if `flags` say so. */
export function ok(stream: number, flags = 0, more: readonly (readonly [string, string])[] = []): Buffer {
  return frame(HEADERS, END_HEADERS | flags, stream, Buffer.concat([STATUS_200, block(more)]));
}

export function pseudo(method: string, path: string): [string, string][] {
  return [
    [":method", method],
    [":scheme", "http"],
    [":path", path],
    [":authority", "a.com"],
  ];
}

function text(value: string): Buffer {
  const bytes = Buffer.from(value, "latin1");
  return Buffer.concat([length(bytes.length), bytes]);
}

/** An integer with a prefix of 7 bits (RFC 7541 5.1). */
function length(value: number): Buffer {
  if (value < 0x7f) return Buffer.from([value]);
  const bytes = [0x7f];
  let rest = value - 0x7f;
  for (; rest >= 0x80; rest >>= 7) bytes.push((rest & 0x7f) | 0x80);
  bytes.push(rest);
  return Buffer.from(bytes);
}

export class FrameClient {
  readonly socket: Socket;
  readonly frames: Frame[] = [];
  isClosed = false;
  onFrame: ((frame: Frame) => void) | null = null;
  #bytes: Buffer = EMPTY;
  #toSkip: number;
  #waiting: (() => void)[] = [];

  constructor(socket: Socket, toSkip = 0) {
    this.socket = socket;
    this.#toSkip = toSkip;
    socket.on("data", (chunk: Buffer) => this.#take(chunk));
    socket.on("error", () => undefined);
    socket.on("end", () => socket.end());
    socket.on("close", () => {
      this.isClosed = true;
      this.#wake();
    });
  }

  /** With the preface and empty settings sent, and the server's settings acknowledged. */
  static async open(port: number): Promise<FrameClient> {
    const client = await FrameClient.openSilent(port);
    await client.until(({ type }) => type === SETTINGS);
    client.send(frame(SETTINGS, ACK, 0));
    return client;
  }

  /** Leaves the server without an answer to its settings. */
  static async openSilent(port: number): Promise<FrameClient> {
    const socket = connect({ host: "127.0.0.1", port });
    await once(socket, "connect");
    const client = new FrameClient(socket);
    client.send(PREFACE, frame(SETTINGS, 0, 0));
    return client;
  }

  /** The other side: what a client connected to, with the server's empty settings sent and the client's acknowledged. */
  static accept(socket: Socket): FrameClient {
    const server = new FrameClient(socket, PREFACE.length);
    server.send(frame(SETTINGS, 0, 0), frame(SETTINGS, ACK, 0));
    return server;
  }

  send(...parts: Buffer[]): void {
    if (!this.isClosed) this.socket.write(Buffer.concat(parts));
  }

  /** The first frame that is so, past ones included; null: the connection ended without it. */
  async until(isSo: (frame: Frame) => boolean): Promise<Frame | null> {
    for (;;) {
      const found = this.frames.find(isSo);
      if (found !== undefined) return found;
      if (this.isClosed) return null;
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
  }

  async closed(): Promise<void> {
    await this.until(() => this.isClosed);
  }

  /** Code of the RST_STREAM of `stream`; null: none came. */
  async reset(stream: number): Promise<number | null> {
    const found = await this.until((one) => one.type === RST_STREAM && one.stream === stream);
    return found === null ? null : found.payload.readUInt32BE(0);
  }

  /** Code of the GOAWAY; null: none came. */
  async goaway(): Promise<number | null> {
    const found = await this.until(({ type }) => type === GOAWAY);
    return found === null ? null : found.payload.readUInt32BE(4);
  }

  #take(chunk: Buffer): void {
    let bytes = Buffer.concat([this.#bytes, chunk]);
    const skipped = Math.min(this.#toSkip, bytes.length);
    this.#toSkip -= skipped;
    bytes = bytes.subarray(skipped);
    while (bytes.length >= FRAME_HEAD_BYTES) {
      const end = FRAME_HEAD_BYTES + bytes.readUIntBE(0, 3);
      if (bytes.length < end) break;
      const payload = bytes.subarray(FRAME_HEAD_BYTES, end);
      const one = { type: bytes[3], flags: bytes[4], stream: bytes.readUInt32BE(5), payload };
      this.frames.push(one);
      this.onFrame?.(one);
      bytes = bytes.subarray(end);
    }
    this.#bytes = bytes;
    this.#wake();
  }

  #wake(): void {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }
}
