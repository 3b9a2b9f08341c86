/** Content codings that can be undone (RFC 9110 8.4.1), whole bodies at a time. */

import { brotliDecompressSync, constants, gunzipSync, inflateSync, zstdDecompressSync } from "node:zlib";

type Decode = (body: Buffer, limitBytes: number) => Buffer;

// A body that was cut off at its limit is decoded as far as it goes.
const { Z_SYNC_FLUSH, BROTLI_OPERATION_FLUSH, ZSTD_e_flush } = constants;

const decoders = new Map<string, Decode>([
  ["identity", (body) => body],
  ["gzip", gunzip],
  ["x-gzip", gunzip],
  ["deflate", (body, maxOutputLength) => inflateSync(body, { maxOutputLength, finishFlush: Z_SYNC_FLUSH })],
  [
    "br",
    (body, maxOutputLength) =>
      brotliDecompressSync(body, { maxOutputLength, finishFlush: BROTLI_OPERATION_FLUSH }),
  ],
  [
    "zstd",
    (body, maxOutputLength) => zstdDecompressSync(body, { maxOutputLength, finishFlush: ZSTD_e_flush }),
  ],
]);

function gunzip(body: Buffer, maxOutputLength: number): Buffer {
  return gunzipSync(body, { maxOutputLength, finishFlush: Z_SYNC_FLUSH });
}

/**
 * Undoes the coding that a `Content-Encoding` names; null when it is unknown or several. The decoder throws for
 * bytes that are no such coding, and for more than `limitBytes` of output.
 */
export function decoderOf(contentEncoding: string): Decode | null {
  return decoders.get(contentEncoding.trim().toLowerCase()) ?? null;
}
