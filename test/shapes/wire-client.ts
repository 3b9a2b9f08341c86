/** A raw TCP client for tests: writes bytes as given, collects what comes back, understands simple answers. */

import { once } from "node:events";
import { connect, type Socket } from "node:net";

export interface WireAnswer {
  status: number;
  head: string;
  body: string;
}

export class WireClient {
  readonly socket: Socket;
  received = "";
  hasEnded = false;
  #wake: (() => void) | null = null;

  constructor(socket: Socket) {
    this.socket = socket;
    socket.setEncoding("latin1");
    socket.on("data", (text: string) => {
      this.received += text;
      this.#wake?.();
    });
    const ended = () => {
      this.hasEnded = true;
      this.#wake?.();
    };
    socket.on("end", ended);
    socket.on("close", ended);
    socket.on("error", ended);
  }

  static async open(port: number): Promise<WireClient> {
    const socket = connect({ port, host: "127.0.0.1", allowHalfOpen: true, noDelay: true });
    await once(socket, "connect");
    return new WireClient(socket);
  }

  send(text: string | Buffer): void {
    this.socket.write(typeof text === "string" ? Buffer.from(text, "latin1") : text);
  }

  /** Resolves once `isThere(received)` or the connection has ended. */
  async until(isThere: (received: string) => boolean): Promise<string> {
    while (!isThere(this.received) && !this.hasEnded) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    return this.received;
  }

  /** The next answer, taken off `received`; null when the connection ended before it was complete. */
  async answer(): Promise<WireAnswer | null> {
    for (;;) {
      const answer = takeAnswer(this.received);
      if (answer !== null) {
        this.received = this.received.slice(answer.end);
        return answer;
      }
      if (this.hasEnded) return null;
      const before = this.received;
      await this.until((received) => received !== before);
    }
  }

  /** Everything until the server closed its side. */
  async rest(): Promise<string> {
    return this.until(() => false);
  }

  close(): void {
    this.socket.destroy();
  }
}

function takeAnswer(text: string): (WireAnswer & { end: number }) | null {
  const headEnd = text.indexOf("\r\n\r\n");
  if (headEnd === -1) return null;
  const head = text.slice(0, headEnd);
  const status = Number(head.slice(9, 12));
  const length = /\r\ncontent-length: (\d+)/i.exec(head);
  const end = headEnd + 4 + (length === null || status < 200 ? 0 : Number(length[1]));
  return text.length < end ? null : { status, head, body: text.slice(headEnd + 4, end), end };
}
