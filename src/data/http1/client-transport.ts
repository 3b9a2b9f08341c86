/**
 * One request on an HTTP/1.1 client connection: the `ClientTransport` that its exchange holds.
 *
 * Promises: an answer has exactly the framing that its head announced, or the connection breaks off; after the
 * end of the answer, or of the connection, every call does nothing. It is never recycled.
 * Leaves to `Http1ClientConnection`: reading, order, deadlines, and the fate of the connection.
 */

import { reasonPhrase } from "../../lib/status-codes.ts";
import type { Socket } from "node:net";
import type { HeaderList } from "../../lib/headers.ts";
import {
  type ClientConnection,
  type ClientHandler,
  type ClientTransport,
  UNKNOWN_LENGTH,
} from "../transport.ts";
import type { RequestHead } from "../transport.ts";
import type { Output } from "./output.ts";
import {
  CHUNKED_FIELD,
  informationalHeadText,
  lastChunkText,
  lengthField,
  responseHeadText,
} from "./serializer.ts";

/** What a transport needs of its connection. */
export interface TransportOwner extends ClientConnection {
  readonly output: Output;
  /** Decides, when the head of an answer is written, whether the connection lives on. */
  keepsAliveAfter(transport: Http1ClientTransport): boolean;
  startBody(transport: Http1ClientTransport): void;
  resumeBody(transport: Http1ClientTransport): void;
  answerComplete(transport: Http1ClientTransport): void;
  breakOff(transport: Http1ClientTransport): void;
  outputBlocked(): void;
  release(transport: Http1ClientTransport): { socket: Socket; rest: Buffer };
}

const NO_BODY = 0;
const LENGTH = 1;
const CHUNKED = 2;
const UNTIL_CLOSE = 3;

export class Http1ClientTransport implements ClientTransport {
  readonly connection: TransportOwner;
  readonly method: string;
  readonly isVersion10: boolean;
  readonly expectsContinue: boolean;
  bytesSent = 0;
  bodyBytesSent = 0;
  bytesReceived: number;
  /** Null until the request listener has returned it. */
  handler: ClientHandler | null = null;
  /** `readBody` was called. */
  isBodyWanted = false;
  isContinued = false;
  isHeadWritten = false;
  /** The answer is not complete and the connection stands. */
  isOpen = true;
  keepsAlive = false;
  status = 0;
  #framing = NO_BODY;
  #left = 0;

  constructor(connection: TransportOwner, head: RequestHead) {
    this.connection = connection;
    this.method = head.method;
    this.isVersion10 = head.version === "1.0";
    this.expectsContinue = head.expectsContinue;
    this.bytesReceived = head.headBytes;
  }

  /** An answer that ends only with the connection: a plain close would make a part of it look whole. */
  get endsWithConnection(): boolean {
    return this.#framing === UNTIL_CLOSE;
  }

  readBody(): void {
    if (!this.isOpen || this.isBodyWanted) return;
    this.isBodyWanted = true;
    if (this.handler !== null) this.connection.startBody(this);
  }

  resumeBody(): void {
    if (this.isOpen) this.connection.resumeBody(this);
  }

  holdOpen(): void {
    // A body of HTTP/1.1 is no conversation.
  }

  writeInformational(status: number, headers: HeaderList): void {
    if (!this.isOpen || this.isHeadWritten || this.isVersion10) return;
    this.#text(informationalHeadText(status, headers));
    this.connection.output.flushSoon();
  }

  writeHead(
    status: number,
    reason: string,
    headers: HeaderList,
    bodyLength: number,
    keepLength: number | null,
  ): void {
    if (!this.isOpen || this.isHeadWritten) return;
    this.#head(status, reason, headers, bodyLength, keepLength);
    this.connection.output.flushSoon();
  }

  writeBody(chunk: Buffer): boolean {
    if (!this.isOpen || !this.isHeadWritten || chunk.length === 0) return true;
    this.#body(chunk);
    if (!this.isOpen) return true;
    const output = this.connection.output;
    output.flushSoon();
    if (!output.isBlocked) return true;
    this.connection.outputBlocked();
    return false;
  }

  writeEnd(trailers: HeaderList | null): void {
    if (!this.isOpen || !this.isHeadWritten) return;
    if (this.#framing === CHUNKED) this.#text(lastChunkText(trailers));
    else if (this.#framing === LENGTH && this.#left > 0) {
      this.connection.breakOff(this);
      return;
    }
    this.isOpen = false;
    this.connection.answerComplete(this);
  }

  writeAnswer(status: number, reason: string, headers: HeaderList, body: Buffer | string): void {
    if (!this.isOpen || this.isHeadWritten) return;
    const bytes = typeof body === "string" ? Buffer.byteLength(body) : body.length;
    this.#head(status, reason, headers, bytes, bytes);
    if (this.#framing === LENGTH && bytes > 0) {
      // As many bytes as characters: plain ASCII, which can go out with the head as it is.
      if (typeof body === "string" && bytes === body.length) {
        this.#text(body);
        this.bodyBytesSent += bytes;
        this.#left = 0;
      } else this.#body(typeof body === "string" ? Buffer.from(body) : body);
    }
    this.isOpen = false;
    this.connection.answerComplete(this);
  }

  abort(): void {
    if (this.isOpen) this.connection.breakOff(this);
  }

  takeSocket(): { socket: Socket; rest: Buffer } {
    if (!this.isOpen || this.status !== 101)
      throw new Error("takeSocket: only after writeHead(101, …), and once");
    this.isOpen = false;
    return this.connection.release(this);
  }

  #head(
    status: number,
    reason: string,
    headers: HeaderList,
    bodyLength: number,
    keepLength: number | null,
  ): void {
    const keepsAlive = this.connection.keepsAliveAfter(this);
    let framing = NO_BODY;
    let field = "";
    if (this.method === "HEAD" || status === 304) {
      if (keepLength !== null) field = lengthField(keepLength);
    } else if (status >= 200 && status !== 204) {
      if (bodyLength !== UNKNOWN_LENGTH) {
        framing = LENGTH;
        field = lengthField(bodyLength);
      } else if (this.isVersion10) framing = UNTIL_CLOSE;
      else {
        framing = CHUNKED;
        field = CHUNKED_FIELD;
      }
    }
    const stays = keepsAlive && framing !== UNTIL_CLOSE;
    const text = responseHeadText(
      status,
      reason === "" ? reasonPhrase(status) : reason,
      headers,
      field,
      stays,
    );
    // Only now, since an invalid field throws and the exchange may then answer something else.
    this.keepsAlive = stays;
    this.#framing = framing;
    this.#left = framing === LENGTH ? bodyLength : 0;
    this.status = status;
    this.isHeadWritten = true;
    this.#text(text);
  }

  #body(chunk: Buffer): void {
    const output = this.connection.output;
    switch (this.#framing) {
      case NO_BODY:
        return;
      case LENGTH:
        this.#left -= chunk.length;
        if (this.#left < 0) {
          // More than the head announced would be read as the start of the next answer.
          this.connection.breakOff(this);
          return;
        }
        output.chunk(chunk);
        break;
      case CHUNKED:
        this.#text(`${chunk.length.toString(16)}\r\n`);
        output.chunk(chunk);
        this.#text("\r\n");
        break;
      default:
        output.chunk(chunk);
    }
    this.bytesSent += chunk.length;
    this.bodyBytesSent += chunk.length;
  }

  #text(text: string): void {
    this.bytesSent += text.length;
    this.connection.output.text(text);
  }
}
