/**
 * Large YAML without a pause for whoever wants it: the parser takes half a second of a core and more per MiB, in one piece, and
 * up to 200 bytes for each of the text. A thread of its own reads the text, gives the value as JSON, which is parsed in slices
 * here, and ends; its memory is the system's again some seconds later. Small texts are read at once.
 *
 * One such thread at a time: whoever comes meanwhile waits, and each has bounds of time and memory. On Linux it has the
 * priority of the thread that asks.
 */

import { Worker } from "node:worker_threads";
import { parseInSlices } from "../lib/json-in-slices.ts";
import { yaml } from "../lib/yaml.ts";
import { ConfigError, type ConfigProblem } from "./config-error.ts";
import { type Path, readSource, type SourceRules } from "./source.ts";

export interface YamlJob {
  /** Stands in messages. */
  name: string;
  text: string;
  env: NodeJS.ProcessEnv;
  /** Of a configuration file; null: plain YAML. */
  rules: SourceRules | null;
  /** Of plain YAML. */
  maxAliases: number;
}

/** What of a text is to be found. */
export interface WantedPlace {
  path: Path;
  /** The place of the key, not of its value. */
  ofKey: boolean;
}

export interface Place {
  line: number;
  column: number;
}

export interface ToYamlThread {
  paths: readonly WantedPlace[];
}

export type FromYamlThread =
  | { type: "value"; json: string }
  | { type: "places"; places: Place[] }
  | { type: "problems"; problems: readonly ConfigProblem[] }
  | { type: "unreadable"; message: string };

/** What a file says, as `readSource` gives it. */
export interface DistantSource {
  data: Record<string, unknown>;
  /** In the order in which they are wanted. */
  places(wanted: readonly WantedPlace[]): Promise<Place[]>;
  /** To be called when nothing more is wanted. */
  end(): Promise<void>;
}

/** Below it, the text is read in the time of a few slices, and sooner than a thread starts. */
const SHORT_CHARACTERS = 16 * 1024;
/** A machine that is busy with requests leaves it a tenth of a core. */
const LONGEST_MS = 180_000;
/** Enough for the longest texts that callers take, and bounded for those that nobody meant to be so large. */
const LIMITS = { maxOldGenerationSizeMb: 2048 };
const ENTRY = new URL("./yaml-thread-entry.ts", import.meta.url);

/** The value of plain YAML. Throws `Error` as the parser does, whose messages quote the text. */
export async function parseYaml(text: string, maxAliases: number): Promise<unknown> {
  if (text.length < SHORT_CHARACTERS) return yaml().parse(text, { maxAliasCount: maxAliases }) as unknown;
  const job = { name: "", text, env: {}, rules: null, maxAliases };
  const thread = await YamlThread.start(job, null);
  try {
    return await parseInSlices(await thread.value());
  } finally {
    await thread.end();
  }
}

/** As `readSource`. Throws `ConfigError`, and the reason of `signal` when that ends it. */
export async function openSource(
  name: string,
  text: string,
  env: NodeJS.ProcessEnv,
  rules: SourceRules,
  signal: AbortSignal,
): Promise<DistantSource> {
  // What is too long is refused without being read.
  if (text.length < SHORT_CHARACTERS || text.length > rules.maxBytes) {
    const { data, place } = readSource(name, text, env, rules);
    const places = async (wanted: readonly WantedPlace[]) =>
      wanted.map(({ path, ofKey }) => place(path, ofKey));
    return { data, places, end: async () => {} };
  }
  const thread = await YamlThread.start({ name, text, env: { ...env }, rules, maxAliases: 0 }, signal);
  try {
    const data = (await parseInSlices(await thread.value())) as Record<string, unknown>;
    return { data, places: (wanted) => thread.places(wanted), end: () => thread.end() };
  } catch (error) {
    await thread.end();
    throw error;
  }
}

/** Ends when the thread of the last who came has ended. */
let turn: Promise<void> = Promise.resolve();

class YamlThread {
  readonly #job: YamlJob;
  readonly #worker: Worker;
  readonly #signal: AbortSignal | null;
  readonly #timer: NodeJS.Timeout;
  readonly #over: () => void;
  #answer = Promise.withResolvers<FromYamlThread>();

  static async start(job: YamlJob, signal: AbortSignal | null): Promise<YamlThread> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const before = turn;
    turn = before.then(() => promise);
    await before;
    try {
      signal?.throwIfAborted();
      return new YamlThread(job, signal, resolve);
    } catch (error) {
      resolve();
      throw error;
    }
  }

  private constructor(job: YamlJob, signal: AbortSignal | null, over: () => void) {
    this.#job = job;
    this.#signal = signal;
    this.#over = over;
    this.#worker = new Worker(ENTRY, { name: "yaml", workerData: job, resourceLimits: LIMITS });
    // Whoever waits for an answer gets it from there; without one, nobody minds.
    this.#answer.promise.catch(() => {});
    this.#worker.on("message", (message: FromYamlThread) => this.#answer.resolve(message));
    this.#worker.on("error", (error: NodeJS.ErrnoException) => this.#fail(this.#mistake(reasonOf(error))));
    this.#worker.on("exit", () => this.#fail(this.#mistake("its reader ended")));
    this.#timer = setTimeout(
      () => this.#fail(this.#mistake(`it is not read within ${LONGEST_MS / 1000} s`)),
      LONGEST_MS,
    );
    signal?.addEventListener("abort", this.#onAbort, { once: true });
  }

  /** JSON. */
  async value(): Promise<string> {
    const message = await this.#answer.promise;
    if (message.type === "value") return message.json;
    if (message.type === "problems") throw new ConfigError(this.#job.name, [...message.problems]);
    throw this.#mistake(message.type === "unreadable" ? message.message : message.type);
  }

  async places(wanted: readonly WantedPlace[]): Promise<Place[]> {
    this.#answer = Promise.withResolvers();
    const question: ToYamlThread = { paths: wanted };
    this.#worker.postMessage(question);
    const message = await this.#answer.promise;
    if (message.type === "places") return message.places;
    throw this.#mistake(message.type);
  }

  async end(): Promise<void> {
    clearTimeout(this.#timer);
    this.#signal?.removeEventListener("abort", this.#onAbort);
    await this.#worker.terminate();
    this.#over();
  }

  readonly #onAbort = (): void => this.#fail(this.#signal!.reason as Error);

  #fail(error: Error): void {
    this.#answer.reject(error);
  }

  #mistake(message: string): Error {
    const { name, rules } = this.#job;
    if (rules === null) return new Error(message);
    return new ConfigError(name, [
      { line: null, column: null, key: "", message: `cannot be read: ${message}` },
    ]);
  }
}

function reasonOf({ code, message }: NodeJS.ErrnoException): string {
  const mostMegabytes = LIMITS.maxOldGenerationSizeMb;
  return code === "ERR_WORKER_OUT_OF_MEMORY" ? `it needs more than ${mostMegabytes} MiB to be read` : message;
}
