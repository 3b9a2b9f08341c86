/**
 * Requests of control to registries and to the sources of certificates: bounded in time and size, an answer whole or
 * not at all. A failure is an `Error` that names the server, and neither credentials nor what the server wrote.
 */

import type { IncomingMessage, RequestOptions } from "node:http";
import { Agent as HttpsAgent, request as requestHttps } from "node:https";
import type { RegistryTimeouts } from "../../config/discovery.ts";
import { http } from "../../lib/node-http.ts";

const MAX_ANSWER_BYTES = 64 * 1024 ** 2;
/** Of one service, as several are asked for at the same time: more than 10,000 nodes need. */
export const MAX_SERVICE_BYTES = 16 * 1024 ** 2;
const MAX_LINE_LENGTH = 16 * 1024 ** 2;
/** Of an answer as a whole, in times of `readMs`. */
const WHOLE_ANSWER = 10;

export interface RegistryQuestion {
  url: URL;
  method?: "GET" | "POST";
  headers?: Record<string, string>;
  timeouts: RegistryTimeouts;
  /** Until the head of the answer; default: `timeouts.readMs`. */
  headMs?: number;
  /** Whether the certificate of the server is verified. Default: true. */
  isVerified?: boolean;
  /** PEM of who signs it; default: the authorities that Node.js knows. */
  ca?: string | string[] | undefined;
  /** What this side shows, PEM. */
  client?: { cert: string; key: string };
  /** Sent with it. */
  body?: Uint8Array;
  /** Of the answer; default: 64 MiB. */
  maxBytes?: number;
  /** A status that is an answer, too, beside 200. */
  accepted?: number;
  /** Only the head is wanted: the body is read and forgotten. */
  isBodyDropped?: boolean;
  signal: AbortSignal;
}

export interface RegistryAnswer {
  status: number;
  headers: IncomingMessage["headers"];
  body: string;
}

interface TlsOptions {
  rejectUnauthorized: boolean;
  ca: string | string[] | undefined;
  cert?: string;
  key?: string;
}

interface Bytes {
  status: number;
  headers: IncomingMessage["headers"];
  bytes: Buffer;
}

/** A status that is no answer. */
export class RegistryStatusError extends Error {
  readonly status: number;

  constructor(host: string, status: number) {
    super(`${host}: status ${status}`);
    this.status = status;
  }
}

/** Connections of one discovery. */
export class RegistryClient {
  readonly #http = new http.Agent({ keepAlive: true, maxSockets: 32 });
  readonly #https = new HttpsAgent({ keepAlive: true, maxSockets: 32 });

  /** Throws for everything but 200 and what is accepted. */
  async ask(question: RegistryQuestion): Promise<RegistryAnswer> {
    const { status, headers, bytes } = await this.askBytes(question);
    return { status, headers, body: bytes.toString("utf8") };
  }

  /** The same for what is no text. */
  async askBytes(question: RegistryQuestion): Promise<Bytes> {
    const { maxBytes = MAX_ANSWER_BYTES } = question;
    const chunks: Buffer[] = [];
    let bytes = 0;
    const { status, headers } = await this.#request(
      question,
      question.timeouts.readMs * WHOLE_ANSWER,
      (chunk) => {
        bytes += chunk.length;
        if (question.isBodyDropped !== true) chunks.push(chunk);
        return bytes > maxBytes ? `an answer of more than ${maxBytes} bytes` : null;
      },
    );
    return { status, headers, bytes: Buffer.concat(chunks) };
  }

  /** Hands over the lines of an answer as they come, until it ends. A line that was cut off is dropped. */
  async readLines(question: RegistryQuestion, onLine: (line: string) => void): Promise<void> {
    const decoder = new TextDecoder();
    let pieces: string[] = [];
    let length = 0;
    await this.#request(question, null, (chunk) => {
      const lines = decoder.decode(chunk, { stream: true }).split("\n");
      // Not one text that grows: each piece would have to look through all before it.
      for (let i = 0; i < lines.length; i++) {
        pieces.push(lines[i]);
        length += lines[i].length;
        if (i === lines.length - 1) break;
        onLine(pieces.length === 1 ? pieces[0] : pieces.join(""));
        pieces = [];
        length = 0;
      }
      return length > MAX_LINE_LENGTH ? "a line without end" : null;
    });
  }

  /** The value of a body of JSON; null: the answer had the other status that is accepted. */
  async askJson(question: RegistryQuestion): Promise<unknown> {
    const { status, body } = await this.ask(question);
    if (status === question.accepted) return null;
    try {
      return JSON.parse(body) as unknown;
    } catch {
      throw new Error(`${question.url.host}: an answer that is not JSON`);
    }
  }

  close(): void {
    this.#http.destroy();
    this.#https.destroy();
  }

  /** `onChunk` gives why the answer cannot be used; null: it can. `wholeMs` null: it may last as long as it likes. */
  #request(
    question: RegistryQuestion,
    wholeMs: number | null,
    onChunk: (chunk: Buffer) => string | null,
  ): Promise<{ status: number; headers: IncomingMessage["headers"] }> {
    const { url, method = "GET", headers, timeouts, isVerified = true, ca, accepted, signal } = question;
    const { headMs = timeouts.readMs } = question;
    const { client, body } = question;
    const isTls = url.protocol === "https:";
    const options: RequestOptions & TlsOptions = {
      method,
      headers: { accept: "application/json", ...headers },
      agent: isTls ? this.#https : this.#http,
      rejectUnauthorized: isVerified,
      ca,
      ...client,
      signal,
    };
    return new Promise((resolve, reject) => {
      const request = (isTls ? requestHttps : http.request)(withoutCredentials(url), options);
      let whole: NodeJS.Timeout | undefined;
      let isOver = false;
      const end = (): void => {
        isOver = true;
        clearTimeout(timer);
        clearTimeout(whole);
      };
      const fail = (error: Error): void => {
        end();
        request.destroy();
        reject(error);
      };
      const failWith = (reason: string): void => fail(new Error(`${url.host}: ${reason}`));
      let timer = setTimeout(() => failWith("no connection in time"), timeouts.connectMs);
      const waitForMore = (ms: number): void => {
        clearTimeout(timer);
        if (isOver) return;
        timer = setTimeout(() => failWith("no answer in time"), ms);
      };
      request.once("socket", (socket) => {
        const begin = (): void => {
          if (wholeMs !== null && !isOver)
            whole = setTimeout(() => failWith("the answer takes too long"), wholeMs);
          waitForMore(headMs);
        };
        if (socket.connecting) socket.once(isTls ? "secureConnect" : "connect", begin);
        else begin();
      });
      request.on("error", (error) => failWith(connectionFault(error)));
      request.once("response", (response) => {
        const status = response.statusCode!;
        if (status !== 200 && status !== accepted) {
          fail(new RegistryStatusError(url.host, status));
          return;
        }
        waitForMore(timeouts.readMs);
        response.on("data", (chunk: Buffer) => {
          waitForMore(timeouts.readMs);
          const fault = onChunk(chunk);
          if (fault !== null) failWith(fault);
        });
        response.on("error", () => failWith("the answer was cut off"));
        response.once("end", () => {
          end();
          resolve({ status, headers: response.headers });
        });
      });
      request.end(body);
    });
  }
}

/** `Authorization` of "http://user:password@host"; undefined: there are no credentials in it. */
export function basicAuthorization({ username, password }: URL): string | undefined {
  if (username === "") return undefined;
  const text = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
  return `Basic ${Buffer.from(text).toString("base64")}`;
}

function withoutCredentials(url: URL): URL {
  if (url.username === "" && url.password === "") return url;
  const plain = new URL(url);
  plain.username = "";
  plain.password = "";
  return plain;
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

const UNTRUSTED =
  /^(?:DEPTH_ZERO_SELF_SIGNED_CERT|SELF_SIGNED_CERT_IN_CHAIN|UNABLE_TO_GET_ISSUER_CERT(?:_LOCALLY)?|UNABLE_TO_VERIFY_LEAF_SIGNATURE)$/;

function connectionFault(error: NodeJS.ErrnoException): string {
  const { code } = error;
  if (code === undefined) return error.message;
  return UNTRUSTED.test(code) ? `no authority that is known here signed its certificate (${code})` : code;
}
