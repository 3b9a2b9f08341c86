/**
 * The access log of one worker: lines rendered from a template, gathered, and appended to the file as a whole.
 *
 * All workers append to the same file; one append of complete lines is never torn by another (POSIX O_APPEND).
 * Lines wait at most `FLUSH_MS` or until the buffer is full. While the disk is slower than the traffic, at most
 * `PENDING_BUFFERS` buffers wait; lines that come on top, or that the disk refuses, are dropped and counted.
 */

import { mkdir, open, type FileHandle } from "node:fs/promises";
import { dirname } from "node:path";
import type { AccessLogConfig } from "../config/static-config.ts";
import type { PluginLog } from "../plugin/host.ts";
import { compileTemplate, type Template } from "../lib/template.ts";

/** What lines are made of: a request, or a connection. */
interface Logged {
  variable(name: string): string | undefined;
}

const FLUSH_MS = 1000;
const PENDING_BUFFERS = 64;

export class AccessLog {
  readonly #path: string;
  readonly #bufferBytes: number;
  readonly #template: Template;
  readonly #escape: (value: string) => string;
  readonly #reader: LogReader;
  readonly #log: PluginLog;
  readonly #timer: NodeJS.Timeout;
  #file: Promise<FileHandle> | null = null;
  readonly #onDropped: (lines: number) => void;
  #text = "";
  #lines = 0;
  #writing: Promise<void> = Promise.resolve();
  #pending = 0;

  /** `path` absolute, or "-" for the standard output. `onDropped` is told of lines that are lost. */
  constructor(
    config: AccessLogConfig & { path: string },
    log: PluginLog,
    onDropped: (lines: number) => void = () => {},
  ) {
    this.#onDropped = onDropped;
    this.#path = config.path;
    this.#bufferBytes = config.bufferBytes;
    this.#template = compileTemplate(config.format);
    this.#escape = config.escape === "json" ? escapeJson : escapeDefault;
    this.#reader = new LogReader(config.escape === "json" ? "" : "-");
    this.#log = log;
    this.#timer = setInterval(() => this.#flush(), FLUSH_MS).unref();
  }

  write(x: Logged): void {
    this.#reader.exchange = x;
    this.#text += `${this.#template.render(this.#reader, this.#escape)}\n`;
    this.#reader.exchange = null;
    this.#lines++;
    if (this.#text.length >= this.#bufferBytes) this.#flush();
  }

  /** Opens the file anew at the next write: its name may belong to another file now. */
  reopen(): void {
    this.#flush();
    const file = this.#file;
    this.#file = null;
    if (file !== null)
      void this.#writing
        .then(async () => (await file).close())
        .catch((error: unknown) => this.#report(error));
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    this.reopen();
    await this.#writing;
  }

  #flush(): void {
    if (this.#text === "") return;
    const text = this.#text;
    const lines = this.#lines;
    this.#text = "";
    this.#lines = 0;
    if (this.#pending >= PENDING_BUFFERS) {
      this.#onDropped(lines);
      return;
    }
    this.#pending++;
    this.#writing = this.#writing.then(() => this.#append(text, lines));
  }

  async #append(text: string, lines: number): Promise<void> {
    try {
      if (this.#path === "-") {
        process.stdout.write(text);
      } else {
        this.#file ??= openForAppend(this.#path);
        await (await this.#file).write(Buffer.from(text));
      }
    } catch (error) {
      this.#file = null;
      this.#onDropped(lines);
      this.#report(error);
    } finally {
      this.#pending--;
    }
  }

  #report(error: unknown): void {
    this.#log.error("access log cannot be written", { path: this.#path, error: String(error) });
  }
}

async function openForAppend(path: string): Promise<FileHandle> {
  await mkdir(dirname(path), { recursive: true });
  return open(path, "a", 0o640);
}

/** Variables as the log shows them: one without a value is written as `absent`. */
class LogReader {
  exchange: Logged | null = null;
  readonly #absent: string;

  constructor(absent: string) {
    this.#absent = absent;
  }

  variable(name: string): string {
    return this.exchange!.variable(name) ?? this.#absent;
  }
}

/** nginx's default escaping: what is not printable ASCII, the quote and the backslash become \xXX. */
function escapeDefault(value: string): string {
  return /["\\\x00-\x1f\x7f-\uffff]/.test(value)
    ? Buffer.from(value)
        .toString("latin1")
        .replace(/["\\\x00-\x1f\x7f-\xff]/g, hex)
    : value;
}

function hex(character: string): string {
  return `\\x${character.charCodeAt(0).toString(16).toUpperCase().padStart(2, "0")}`;
}

function escapeJson(value: string): string {
  return /["\\\x00-\x1f]/.test(value) ? JSON.stringify(value).slice(1, -1) : value;
}
