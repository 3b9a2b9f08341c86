/**
 * The frame that ends an answer of gRPC-Web: what gRPC says in trailers, as lines of "name:value" behind the flag of trailers
 * and their length (https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-WEB.md).
 */

import type { HeaderList } from "../../plugin/index.ts";

const TRAILERS = 0x80;
const HEAD_BYTES = 5;
const LINE_END = /[\r\n]/;

/** `missing`: status and message of a call whose trailers say nothing. */
export function trailerFrame(
  trailers: HeaderList | null,
  missing: { status: number; message: string },
): Buffer {
  const status = trailers === null ? undefined : trailers.get("grpc-status");
  const told = status === undefined ? missing.message : (trailers!.get("grpc-message") ?? "");
  let lines = `grpc-status:${status ?? missing.status}\r\ngrpc-message:${told}\r\n`;
  if (trailers !== null) {
    const { names, values } = trailers;
    for (let i = 0; i < names.length; i++) {
      if (names[i] === "grpc-status" || names[i] === "grpc-message") continue;
      // A line that a value makes would look like another field.
      if (LINE_END.test(values[i])) continue;
      lines += `${names[i]}:${values[i]}\r\n`;
    }
  }
  const frame = Buffer.allocUnsafe(HEAD_BYTES + lines.length);
  frame[0] = TRAILERS;
  frame.writeUInt32BE(lines.length, 1);
  frame.write(lines, HEAD_BYTES, "latin1");
  return frame;
}
