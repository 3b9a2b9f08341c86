/** How we read a stream of request bytes: what an upstream would be sent, for comparison with other readers. */

import { BodyDecoder } from "../../src/data/http1/body-decoder.ts";
import { FAILED, NEED_MORE } from "../../src/data/http1/head-parser.ts";
import { RequestParser } from "../../src/data/http1/request-parser.ts";
import { HTTP_CONFIG } from "../shapes/echo-listener.ts";

export interface ReadRequest {
  method: string;
  target: string;
  headers: string[];
  body: string;
}

export interface Reading {
  requests: ReadRequest[];
  /** Code of the error that ended the reading, or null. */
  error: string | null;
}

/** Reads all requests of `pieces`, up to an error or to one after which the connection closes. */
export function readRequests(pieces: readonly Buffer[]): Reading {
  const parser = new RequestParser({ ...HTTP_CONFIG, underscoresInHeaders: "keep" });
  const decoder = new BodyDecoder(false);
  const requests: ReadRequest[] = [];
  let body: Buffer[] = [];
  let isInBody = false;
  let isClosed = false;
  const consumer = {
    onBody: (chunk: Buffer) => body.push(chunk) > 0,
    onEnd: () => {
      const { method, target, headers } = parser.head;
      const fields = [...headers].map(([name, value]) => `${name}: ${value}`);
      requests.push({ method, target, headers: fields, body: Buffer.concat(body).toString("latin1") });
      body = [];
      isInBody = false;
      isClosed = !parser.keepAlive;
      parser.reset();
    },
  };
  for (const piece of pieces) {
    let at = 0;
    while (at < piece.length) {
      if (isClosed) return { requests, error: null };
      if (isInBody) {
        at = decoder.feed(piece, at, piece.length);
        if (decoder.state === "failed") return { requests, error: decoder.error!.code };
        continue;
      }
      const end = parser.feed(piece, at, piece.length);
      if (end === FAILED) return { requests, error: parser.error!.code };
      if (end === NEED_MORE) break;
      at = end;
      isInBody = true;
      decoder.begin(parser.framing, parser.head.bodyLength, consumer);
    }
  }
  return { requests, error: null };
}
