/** A small real DNS server for tests, over UDP and TCP on one port of the loopback (RFC 1035, RFC 3596). */

import { createSocket, type Socket } from "node:dgram";
import { once } from "node:events";
import { createServer, isIPv6, type AddressInfo, type Server } from "node:net";

export interface Zone {
  addresses?: string[];
  ttl?: number;
  /** 2 SERVFAIL, 3 NXDOMAIN */
  code?: number;
  /** Answers over UDP are cut, so that the client comes again over TCP. */
  truncates?: boolean;
  /** Of these record types no answer is given at all. */
  silent?: ("A" | "AAAA")[];
}

export class DnsServer {
  /** By name; others do not exist. */
  readonly zones = new Map<string, Zone>();
  /** "A name" or "AAAA name", with "tcp" before it when it came that way. */
  readonly questions: string[] = [];
  readonly #udp: Socket = createSocket("udp4");
  readonly #tcp: Server;
  #waiting: (() => void)[] = [];

  constructor() {
    this.#udp.on("message", (message, { port, address }) => {
      const answer = this.#answer(message, false);
      if (answer !== null) this.#udp.send(answer, port, address);
      this.#notify();
    });
    this.#tcp = createServer((socket) => {
      socket.on("error", () => undefined);
      socket.on("data", (data: Buffer) => {
        const answer = this.#answer(data.subarray(2), true);
        if (answer === null) return;
        const length = Buffer.alloc(2);
        length.writeUInt16BE(answer.length);
        socket.end(Buffer.concat([length, answer]));
      });
    });
  }

  /** Gives "127.0.0.1:port". */
  async listen(): Promise<string> {
    this.#tcp.listen(0, "127.0.0.1");
    await once(this.#tcp, "listening");
    const { port } = this.#tcp.address() as AddressInfo;
    this.#udp.bind(port, "127.0.0.1");
    await once(this.#udp, "listening");
    return `127.0.0.1:${port}`;
  }

  async untilAsked(times: number): Promise<void> {
    while (this.questions.length < times) await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  close(): void {
    this.#udp.close();
    this.#tcp.close();
  }

  #notify(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resolve of waiting) resolve();
  }

  #answer(message: Buffer, isTcp: boolean): Buffer | null {
    const labels: string[] = [];
    let at = 12;
    while (message[at] !== 0) {
      labels.push(message.toString("latin1", at + 1, at + 1 + message[at]));
      at += message[at] + 1;
    }
    const name = labels.join(".").toLowerCase();
    const type = message.readUInt16BE(at + 1) === 28 ? "AAAA" : "A";
    this.questions.push(`${isTcp ? "tcp " : ""}${type} ${name}`);
    const zone = this.zones.get(name);
    if (zone?.silent?.includes(type) === true) return null;
    const truncates = zone?.truncates === true && !isTcp;
    const records = truncates
      ? []
      : (zone?.addresses ?? [])
          .filter((address) => isIPv6(address) === (type === "AAAA"))
          .map((address) => record(address, zone?.ttl ?? 60));
    const head = Buffer.from(message.subarray(0, 12));
    head[2] = 0x84 | (truncates ? 2 : 0) | (head[2] & 1);
    head[3] = 0x80 | (zone === undefined ? 3 : (zone.code ?? 0));
    head.writeUInt16BE(records.length, 6);
    head.writeUInt16BE(0, 8);
    head.writeUInt16BE(0, 10);
    return Buffer.concat([head, message.subarray(12, at + 5), ...records]);
  }
}

/** An A or AAAA record whose name points to that of the question. */
function record(address: string, ttl: number): Buffer {
  const data = isIPv6(address) ? ipv6Bytes(address) : Buffer.from(address.split(".").map(Number));
  const head = Buffer.alloc(12);
  head.writeUInt16BE(0xc00c, 0);
  head.writeUInt16BE(isIPv6(address) ? 28 : 1, 2);
  head.writeUInt16BE(1, 4);
  head.writeUInt32BE(ttl, 6);
  head.writeUInt16BE(data.length, 10);
  return Buffer.concat([head, data]);
}

function ipv6Bytes(address: string): Buffer {
  const [left, right = ""] = address.split("::");
  const words = (text: string): string[] => (text === "" ? [] : text.split(":"));
  const missing = 8 - words(left).length - words(right).length;
  const all = [...words(left), ...Array<string>(missing).fill("0"), ...words(right)];
  const bytes = Buffer.alloc(16);
  for (const [i, word] of all.entries()) bytes.writeUInt16BE(Number.parseInt(word, 16), i * 2);
  return bytes;
}
