/**
 * The node's own log: one JSON object per line on the standard output, from every thread.
 *
 * Lines are written by the thread pool, so a slow reader of the output never holds a thread; a thread that ends by
 * itself or by an exception flushes first. What a terminated thread had not handed to the system is lost (the
 * supervisor logs the death). A line up to 4 KiB is written whole: that much a pipe takes in one piece, so lines
 * of several threads do not mix. The launcher writes the same shape with its own few lines, since it is not
 * TypeScript. Access logs are not written here.
 */

import { pino, type Logger } from "pino";

export type LogLevel = "debug" | "info" | "warn" | "error";

export interface Log {
  debug(message: string, fields?: object): void;
  info(message: string, fields?: object): void;
  warn(message: string, fields?: object): void;
  error(message: string, fields?: object): void;
  /** Whether lines of this level are written: ask before collecting costly fields. */
  isEnabled(level: LogLevel): boolean;
  /** A log whose lines carry these fields too. */
  with(fields: object): Log;
  /** Waits until everything is handed to the system. Blocks: for the end of a thread or process. */
  flush(): void;
}

/** Bytes that a pipe takes in one piece (PIPE_BUF). */
const MAX_WRITE_BYTES = 4096;

/** Unwritten bytes beyond which new lines are dropped: a stuck reader must not fill the heap. */
const MAX_BACKLOG_BYTES = 8 * 1024 * 1024;

type Destination = ReturnType<typeof pino.destination>;

/** One destination per thread: each would otherwise keep bytes of its own back. */
let output: Destination | null = null;

/** `role` says which thread writes ("supervisor", "control", "worker"); `fields` stand on every line. */
export function createLog(role: string, level: LogLevel = "info", fields: object = {}): Log {
  const logger = pino(
    {
      level,
      base: { role, ...fields },
      messageKey: "message",
      timestamp: () => `,"time":"${new Date().toISOString()}"`,
      formatters: { level: (label) => ({ level: label }) },
    },
    destination(),
  );
  return new PinoLog(logger);
}

function destination(): Destination {
  if (output !== null) return output;
  output = pino.destination({ fd: 1, sync: false, maxWrite: MAX_WRITE_BYTES, maxLength: MAX_BACKLOG_BYTES });
  // Nobody reads any more (EPIPE): the node serves on without its log.
  output.on("error", () => {});
  process.on("exit", flushOutput);
  return output;
}

function flushOutput(): void {
  try {
    output?.flushSync();
  } catch {
    // Not open yet, or nobody reads: nothing can be saved.
  }
}

class PinoLog implements Log {
  readonly #logger: Logger;

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  debug(message: string, fields?: object): void {
    if (fields === undefined) this.#logger.debug(message);
    else this.#logger.debug(fields, message);
  }

  info(message: string, fields?: object): void {
    if (fields === undefined) this.#logger.info(message);
    else this.#logger.info(fields, message);
  }

  warn(message: string, fields?: object): void {
    if (fields === undefined) this.#logger.warn(message);
    else this.#logger.warn(fields, message);
  }

  error(message: string, fields?: object): void {
    if (fields === undefined) this.#logger.error(message);
    else this.#logger.error(fields, message);
  }

  isEnabled(level: LogLevel): boolean {
    return this.#logger.isLevelEnabled(level);
  }

  with(fields: object): Log {
    return new PinoLog(this.#logger.child(fields));
  }

  flush(): void {
    flushOutput();
  }
}
