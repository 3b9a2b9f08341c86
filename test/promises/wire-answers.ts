/** Answers off a raw connection, strictly enough for tests: by length, chunked, without body, or until the end. */

import { once } from "node:events";
import { connect, type Socket } from "node:net";

export interface WireAnswer {
  status: number;
  /** Lower-case names. */
  headers: Map<string, string>;
  body: string;
}

export class WireConnection {
  readonly socket: Socket;
  #received = "";
  #isOver = false;
  #wake: () => void = () => {};

  constructor(socket: Socket) {
    this.socket = socket;
    socket.setEncoding("latin1").on("data", (text: string) => {
      this.#received += text;
      this.#wake();
    });
    const over = () => {
      this.#isOver = true;
      this.#wake();
    };
    socket.on("end", over).on("close", over).on("error", over);
  }

  static async open(port: number): Promise<WireConnection> {
    const socket = connect({ port, host: "127.0.0.1", allowHalfOpen: true, noDelay: true });
    await once(socket, "connect");
    return new WireConnection(socket);
  }

  send(text: string): void {
    this.socket.write(Buffer.from(text, "latin1"));
  }

  /** The next final answer (1xx are skipped); null: the connection ended before one was complete. */
  async answer(isHead = false): Promise<WireAnswer | null> {
    for (;;) {
      const taken = take(this.#received, isHead, this.#isOver);
      if (taken !== null) {
        this.#received = this.#received.slice(taken.end);
        if (taken.status >= 200) return taken;
        continue;
      }
      if (this.#isOver) return null;
      await this.#more();
    }
  }

  /** What came behind the answers, once the peer has ended the connection. */
  async rest(): Promise<string> {
    while (!this.#isOver) await this.#more();
    return this.#received;
  }

  close(): void {
    this.socket.destroy();
  }

  #more(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve;
    });
  }
}

function take(text: string, isHead: boolean, isOver: boolean): (WireAnswer & { end: number }) | null {
  const headEnd = text.indexOf("\r\n\r\n");
  if (headEnd === -1) return null;
  const [statusLine, ...fields] = text.slice(0, headEnd).split("\r\n");
  const status = Number(statusLine.slice(9, 12));
  const headers = new Map<string, string>();
  for (const field of fields) {
    const colon = field.indexOf(":");
    headers.set(field.slice(0, colon).toLowerCase(), field.slice(colon + 1).trim());
  }
  const start = headEnd + 4;
  const answer = (body: string, end: number) => ({ status, headers, body, end });
  if (isHead || status < 200 || status === 204 || status === 304) return answer("", start);
  if (headers.get("transfer-encoding") === "chunked") {
    const body = takeChunks(text, start);
    return body === null ? null : answer(body.text, body.end);
  }
  const length = headers.get("content-length");
  if (length === undefined) return isOver ? answer(text.slice(start), text.length) : null;
  const end = start + Number(length);
  return text.length < end ? null : answer(text.slice(start, end), end);
}

/** Without trailers, which none of the origins sends. */
function takeChunks(text: string, start: number): { text: string; end: number } | null {
  let body = "";
  for (let at = start; ;) {
    const lineEnd = text.indexOf("\r\n", at);
    if (lineEnd === -1) return null;
    const size = Number.parseInt(text.slice(at, lineEnd), 16);
    const end = lineEnd + 2 + size + 2;
    if (text.length < end) return null;
    if (size === 0) return { text: body, end };
    body += text.slice(lineEnd + 2, end - 2);
    at = end;
  }
}
