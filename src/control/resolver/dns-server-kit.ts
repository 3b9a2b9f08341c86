/** A small real DNS server for tests, over UDP and TCP on one port of the loopback (RFC 1035, RFC 3596, RFC 2782). */

import { createSocket, type Socket } from "node:dgram";
import { once } from "node:events";
import { createServer, isIPv6, type AddressInfo, type Server } from "node:net";
import { freePort } from "../../../test/ports/free-port.ts";

type RecordType = "A" | "AAAA" | "SRV";

export interface Zone {
  addresses?: string[];
  services?: { target: string; port: number; weight: number; priority: number }[];
  ttl?: number;
  /** 2 SERVFAIL, 3 NXDOMAIN */
  code?: number;
  /** Answers over UDP are cut, so that the client comes again over TCP. */
  truncates?: boolean;
  /** Of these record types no answer is given at all. */
  silent?: RecordType[];
  /** These are answered with SERVFAIL. */
  failing?: RecordType[];
}

const TYPES: Readonly<Record<number, RecordType>> = { 1: "A", 28: "AAAA", 33: "SRV" };

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
    this.#tcp.listen(await freePort(), "127.0.0.1");
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
    const type = TYPES[message.readUInt16BE(at + 1)] ?? "A";
    this.questions.push(`${isTcp ? "tcp " : ""}${type} ${name}`);
    const zone = this.zones.get(name);
    if (zone?.silent?.includes(type) === true) return null;
    const truncates = zone?.truncates === true && !isTcp;
    const isFailing = zone?.failing?.includes(type) === true;
    const records = truncates || isFailing ? [] : recordsOf(zone ?? {}, type);
    const head = Buffer.from(message.subarray(0, 12));
    head[2] = 0x84 | (truncates ? 2 : 0) | (head[2] & 1);
    head[3] = 0x80 | (zone === undefined ? 3 : isFailing ? 2 : (zone.code ?? 0));
    head.writeUInt16BE(records.length, 6);
    head.writeUInt16BE(0, 8);
    head.writeUInt16BE(0, 10);
    return Buffer.concat([head, message.subarray(12, at + 5), ...records]);
  }
}

function recordsOf({ addresses = [], services = [], ttl = 60 }: Zone, type: RecordType): Buffer[] {
  if (type === "SRV") {
    return services.map(({ target, port, weight, priority }) => {
      const numbers = Buffer.alloc(6);
      for (const [i, number] of [priority, weight, port].entries()) numbers.writeUInt16BE(number, i * 2);
      const labels = target
        .split(".")
        .filter((label) => label !== "")
        .map((label) => Buffer.from(`${String.fromCharCode(label.length)}${label}`));
      return record(33, ttl, Buffer.concat([numbers, ...labels, Buffer.alloc(1)]));
    });
  }
  return addresses
    .filter((address) => isIPv6(address) === (type === "AAAA"))
    .map((address) =>
      type === "AAAA"
        ? record(28, ttl, ipv6Bytes(address))
        : record(1, ttl, Buffer.from(address.split(".").map(Number))),
    );
}

/** Its name points to that of the question. */
function record(type: number, ttl: number, data: Buffer): Buffer {
  const head = Buffer.alloc(12);
  head.writeUInt16BE(0xc00c, 0);
  head.writeUInt16BE(type, 2);
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
