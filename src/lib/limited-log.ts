/**
 * A log for what can happen with every request: at most `LINES_PER_SECOND` of one message; how many were left
 * out stands in the first line of the next second that is written.
 */

export interface LeveledLog {
  debug(message: string, fields?: object): void;
  info(message: string, fields?: object): void;
  warn(message: string, fields?: object): void;
  error(message: string, fields?: object): void;
}

const LINES_PER_SECOND = 10;

interface Window {
  second: number;
  lines: number;
  leftOut: number;
}

export class LimitedLog implements LeveledLog {
  readonly #log: LeveledLog;
  readonly #now: () => number;
  /** By message: these are few, since messages are constants of the code. */
  readonly #windows = new Map<string, Window>();

  /** `now` in milliseconds. */
  constructor(log: LeveledLog, now: () => number = Date.now) {
    this.#log = log;
    this.#now = now;
  }

  debug(message: string, fields?: object): void {
    this.#log.debug(message, fields);
  }

  info(message: string, fields?: object): void {
    this.#write("info", message, fields);
  }

  warn(message: string, fields?: object): void {
    this.#write("warn", message, fields);
  }

  error(message: string, fields?: object): void {
    this.#write("error", message, fields);
  }

  #write(level: "info" | "warn" | "error", message: string, fields: object | undefined): void {
    const second = Math.floor(this.#now() / 1000);
    let window = this.#windows.get(message);
    if (window === undefined) this.#windows.set(message, (window = { second, lines: 0, leftOut: 0 }));
    const leftOut = window.leftOut;
    if (window.second !== second) {
      window.second = second;
      window.lines = 0;
      window.leftOut = 0;
    }
    if (window.lines >= LINES_PER_SECOND) {
      window.leftOut++;
      return;
    }
    const isFirst = window.lines++ === 0;
    this.#log[level](message, isFirst && leftOut > 0 ? { ...fields, left_out: leftOut } : fields);
  }
}
