/**
 * A file that only this node reads: encrypted and authenticated, written aside and renamed, for its owner only. It is
 * as it was written, or it is refused: cut off, changed and foreign files are told apart from good ones by the tag at
 * the end, which covers every byte.
 *
 * AES-256-GCM (NIST SP 800-38D) under a random key of the node's own, which stands in a file beside it; a nonce is
 * random and of one write. A line of text at the head names format and nonce, and is authenticated with the rest.
 *
 * What is in it is the business of `snapshot.ts` and of the store of one document.
 */

import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from "node:crypto";
import { open, rename, rm, stat, utimes } from "node:fs/promises";
import { dirname } from "node:path";
import { readOwnerFile, writeOwnerFile } from "../../lib/owner-file.ts";
import type { Pace } from "../../lib/pace.ts";

const FORMAT = "cardea-sealed 1";
const ALGORITHM = "aes-256-gcm";
const KEY_BYTES = 32;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const HEAD = /^cardea-sealed 1 ([A-Za-z0-9+/]{16})\n/;
const HEAD_BYTES = FORMAT.length + 1 + 16 + 1;
/** Of text that is encrypted and written in one go: about a millisecond; the event loop gets its turn in between. */
const PIECE_CHARACTERS = 128 * 1024;
const READ_BYTES = 1024 * 1024;
/** Ten times the largest configuration that a node is made for. */
const LONGEST_BYTES = 2 * 1024 ** 3;

/** The file is there and cannot be used. The message names the file and repeats nothing of it. */
export class SealedFileError extends Error {
  override name = "SealedFileError";
}

export class SealedFile {
  readonly path: string;
  readonly #key: Buffer;

  /** `purpose` parts the keys of files with different content. */
  constructor(path: string, secret: Buffer, purpose: string) {
    this.path = path;
    this.#key = Buffer.from(hkdfSync("sha256", secret, "", `cardea ${purpose}`, KEY_BYTES));
  }

  /**
   * All or nothing, and durable when it resolves. Not to be called again before that. `timeMs`: as of when it is; `pace`:
   * how quickly, without it at full speed.
   */
  async write(texts: Iterable<string>, timeMs: number, pace?: Pace): Promise<void> {
    const aside = `${this.path}.new`;
    // A rest of an interrupted write may have another mode.
    await rm(aside, { force: true });
    const file = await open(aside, "wx", 0o600);
    try {
      const nonce = randomBytes(NONCE_BYTES);
      const head = Buffer.from(`${FORMAT} ${nonce.toString("base64")}\n`);
      const cipher = createCipheriv(ALGORITHM, this.#key, nonce).setAAD(head);
      await file.appendFile(head);
      for (const piece of pieces(texts)) {
        await file.appendFile(cipher.update(piece, "utf8"));
        await pace?.rest();
      }
      await file.appendFile(Buffer.concat([cipher.final(), cipher.getAuthTag()]));
      await file.utimes(timeMs / 1000, timeMs / 1000);
      await file.sync();
    } catch (error) {
      await file.close();
      await rm(aside, { force: true });
      throw error;
    }
    await file.close();
    await rename(aside, this.path);
    await syncFolder(dirname(this.path));
  }

  /**
   * The text in pieces as they come; what was given before it throws is not to be used. Null: there is no such file.
   * Throws `SealedFileError`.
   */
  async read(onText: (text: string) => void): Promise<boolean> {
    const file = await this.#openIfThere();
    if (file === null) return false;
    try {
      const { size } = await file.stat();
      const end = size - TAG_BYTES;
      if (end < HEAD_BYTES) throw this.#unusable(size === 0 ? "it is empty" : "it is cut off");
      if (size > LONGEST_BYTES) throw this.#unusable(`it has more than ${LONGEST_BYTES} bytes`);
      const head = await readAt(file, 0, HEAD_BYTES);
      const nonce = HEAD.exec(head.toString("latin1"));
      if (nonce === null) throw this.#unusable("it is not one of this program, or of another version");
      const decipher = createDecipheriv(ALGORITHM, this.#key, Buffer.from(nonce[1], "base64"));
      decipher.setAAD(head).setAuthTag(await readAt(file, end, TAG_BYTES));
      const decoder = new TextDecoder();
      for (let at = HEAD_BYTES; at < end; at += READ_BYTES) {
        const bytes = await readAt(file, at, Math.min(READ_BYTES, end - at));
        onText(decoder.decode(decipher.update(bytes), { stream: true }));
      }
      try {
        decipher.final();
      } catch {
        throw this.#unusable("it is damaged, cut off, or was written with another key");
      }
      onText(decoder.decode());
      return true;
    } finally {
      await file.close();
    }
  }

  /** As of when it is, in milliseconds since 1970; null: there is no such file. */
  async changedAt(): Promise<number | null> {
    try {
      return (await stat(this.path)).mtimeMs;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return null;
      throw error;
    }
  }

  async touch(timeMs: number): Promise<void> {
    await utimes(this.path, timeMs / 1000, timeMs / 1000);
  }

  async #openIfThere() {
    try {
      return await open(this.path, "r");
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return null;
      throw this.#unusable(error instanceof Error ? error.message : String(error));
    }
  }

  #unusable(reason: string): SealedFileError {
    return new SealedFileError(`${this.path} cannot be used: ${reason}`);
  }
}

/** The secret of a node, made when there is none. Throws when the file holds something else. */
export function openSecret(file: string): Buffer {
  const text = readOwnerFile(file);
  if (text === null) {
    const secret = randomBytes(KEY_BYTES);
    writeOwnerFile(file, `${secret.toString("base64url")}\n`);
    return secret;
  }
  const secret = Buffer.from(text.trim(), "base64url");
  if (secret.length === KEY_BYTES) return secret;
  throw new Error(
    `${file}: given ${secret.length} bytes, expected a key of ${KEY_BYTES} (or no file, and one is made)`,
  );
}

/** The same text in pieces of about one size: thousands of small writes are slow, one large one blocks. */
function* pieces(texts: Iterable<string>): Generator<string, void, void> {
  let piece = "";
  for (const text of texts) {
    piece += text;
    if (piece.length < PIECE_CHARACTERS) continue;
    yield piece;
    piece = "";
  }
  if (piece !== "") yield piece;
}

async function readAt(
  file: Awaited<ReturnType<typeof open>>,
  position: number,
  length: number,
): Promise<Buffer> {
  const bytes = Buffer.allocUnsafe(length);
  let filled = 0;
  while (filled < length) {
    const { bytesRead } = await file.read(bytes, filled, length - filled, position + filled);
    // It became shorter meanwhile; the tag will tell.
    if (bytesRead === 0) break;
    filled += bytesRead;
  }
  return bytes.subarray(0, filled);
}

/** So that the renaming, too, outlives a loss of power. */
async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
