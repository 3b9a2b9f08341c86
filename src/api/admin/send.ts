/** From an answer to the response; a long one leaves in slices, while it is made. */

import { Readable } from "node:stream";
import type { FastifyReply } from "fastify";
import { slices } from "../../lib/slices.ts";
import type { Answer } from "./answer.ts";

const PIECE_CHARACTERS = 64 * 1024;

export function send(reply: FastifyReply, answer: Answer): FastifyReply {
  reply.code(answer.status);
  if (answer.headers !== undefined) reply.headers(answer.headers);
  reply.header("content-type", answer.headers?.["content-type"] ?? "application/json");
  if (answer.pieces !== undefined) return reply.send(Readable.from(inSlices(answer.pieces)));
  if (answer.body === undefined) return reply.send("");
  // As bytes: Fastify would add a charset to the type of a text, which JSON has not (RFC 8259 section 11).
  const text = answer.isText === true ? (answer.body as string) : `${JSON.stringify(answer.body)}\n`;
  return reply.send(Buffer.from(text));
}

/** Large enough for the network, and made in slices. */
async function* inSlices(pieces: Iterable<string>): AsyncGenerator<Buffer, void, void> {
  const breathe = slices();
  let text = "";
  for (const piece of pieces) {
    text += piece;
    if (text.length >= PIECE_CHARACTERS) {
      yield Buffer.from(text);
      text = "";
    }
    await breathe();
  }
  if (text !== "") yield Buffer.from(text);
}
