/**
 * Which node a command speaks to: the URL of its Admin or Control API and the admin key, from options, from the
 * environment, or from the static configuration and the data folder of a node on this machine. And the calls to it.
 */

import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { loadStaticConfig } from "../config/load.ts";
import type { ListenerConfig, StaticConfig } from "../config/static-config.ts";
import { CommandError, MISUSED } from "./terminal.ts";

export interface ConnectionOptions {
  admin?: string;
  control?: string;
  "key-file"?: string;
  config?: string;
  data?: string;
}

export interface Call {
  method: "GET" | "POST";
  /** Behind the URL of the API. */
  path: string;
  body?: unknown;
  headers?: Record<string, string>;
}

export interface Reply {
  status: number;
  /** Parsed; null when it is no JSON. */
  body: unknown;
  etag: string | null;
}

const TIMEOUT_MS = 90_000;
const ADMIN_PATH = "/apisix/admin";
const UNSPECIFIED: Readonly<Record<string, string>> = { "0.0.0.0": "127.0.0.1", "::": "[::1]" };

export class Connection {
  readonly #options: ConnectionOptions;
  readonly #env: NodeJS.ProcessEnv;
  #config: StaticConfig | null = null;
  #key: string | null = null;

  constructor(options: ConnectionOptions, env: NodeJS.ProcessEnv) {
    this.#options = options;
    this.#env = env;
  }

  /** Throws `CommandError` when there is no answer; a refusal is an answer. */
  async admin(call: Call): Promise<Reply> {
    const url = this.#options.admin ?? this.#env["CARDEA_ADMIN"] ?? this.#urlOf("admin");
    this.#key ??= this.#findKey();
    const headers = { ...call.headers, "x-api-key": this.#key };
    return await send(`${withoutPath(url)}${ADMIN_PATH}${call.path}`, { ...call, headers });
  }

  async control(call: Call): Promise<Reply> {
    const url = this.#options.control ?? this.#env["CARDEA_CONTROL"] ?? this.#urlOf("control");
    return await send(`${withoutPath(url)}${call.path}`, call);
  }

  #urlOf(purpose: ListenerConfig["purpose"]): string {
    const listener = this.#staticConfig().listeners.find((candidate) => candidate.purpose === purpose);
    if (listener === undefined) throw new CommandError(`the node has no ${purpose} API; see --${purpose}`);
    const { address, port } = listener;
    const host = UNSPECIFIED[address] ?? (address.includes(":") ? `[${address}]` : address);
    return `http://${host}:${port}`;
  }

  /** An own one wins over that of the environment, as everywhere. */
  #findKey(): string {
    const file = this.#options["key-file"];
    if (file !== undefined) return readKey(file);
    const fromEnvironment = this.#env["CARDEA_ADMIN_KEY"] ?? "";
    if (fromEnvironment !== "") return fromEnvironment;
    const { admin } = this.#staticConfig();
    const key = admin.keys.find(({ role, scope }) => role === "admin" && (scope ?? null) === null);
    return key === undefined ? readKey(join(this.#dataFolder(), "admin.key")) : key.key;
  }

  #staticConfig(): StaticConfig {
    const given = this.#options.config ?? this.#env["CARDEA_CONFIG"];
    const file = given === undefined ? undefined : resolve(given);
    this.#config ??= loadStaticConfig({ file, dataFolder: this.#dataFolder(), env: this.#env }).config;
    return this.#config;
  }

  #dataFolder(): string {
    return resolve(this.#options.data ?? this.#env["CARDEA_DATA"] ?? "data");
  }
}

function readKey(file: string): string {
  try {
    return readFileSync(file, "utf8").trim();
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    const ways = "--key-file, $CARDEA_ADMIN_KEY or the data folder (--data) of the node";
    throw new CommandError(`there is no admin key: ${reason}; give it by ${ways}`, MISUSED);
  }
}

function withoutPath(url: string): string {
  const parsed = URL.canParse(url) ? new URL(url) : null;
  if (parsed === null || !/^https?:$/.test(parsed.protocol)) {
    throw new CommandError(
      `given ${JSON.stringify(url)}, expected a URL as in http://127.0.0.1:9180`,
      MISUSED,
    );
  }
  return parsed.origin;
}

async function send(url: string, { method, body, headers }: Call): Promise<Reply> {
  const init: RequestInit = { method, headers, redirect: "error", signal: AbortSignal.timeout(TIMEOUT_MS) };
  if (body !== undefined) {
    init.body = JSON.stringify(body);
    init.headers = { ...headers, "content-type": "application/json" };
  }
  try {
    const response = await fetch(url, init);
    const text = await response.text();
    return { status: response.status, body: parsed(text), etag: response.headers.get("etag") };
  } catch (error) {
    throw new CommandError(`${new URL(url).origin} does not answer: ${reasonOf(error)}`);
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return null;
  }
}

/** What failed stands in the cause. */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause instanceof Error && error.cause.message !== "" ? error.cause.message : error.message;
}

/** The message of a refusal. */
export function refusalText({ status, body }: Reply): string {
  const { error_msg: message, description } = (body ?? {}) as Record<string, unknown>;
  const texts = [message, description].filter((text) => typeof text === "string");
  return `${status}: ${texts.length === 0 ? "no reason is given" : texts.join(": ")}`;
}
