/**
 * Bodies of the Admin API: JSON, or YAML where it is accepted, whatever the declared type. Bounded by the server.
 *
 * JSON may have raw control characters inside strings (RFC 8259 section 7 wants them escaped): APISIX's parser
 * takes them, and people paste .proto files and certificates with their line ends.
 */

import type { FastifyRequest } from "fastify";
import { parseYaml } from "../../config/yaml-thread.ts";
import { parseInSlices } from "../../lib/json-in-slices.ts";
import { AnswerError, refuse } from "./answer.ts";

/** Of an unreadable body, what the answer repeats. */
const ECHO_CHARACTERS = 64 * 1024;
const YAML_ALIASES = 100;
/** The parser of YAML takes some 0.7 s per MiB, and up to 200 times its memory. JSON is a hundred times as fast. */
const LONGEST_YAML_CHARACTERS = 4 * 1024 * 1024;

/** Undefined when there is no body; throws `AnswerError` when it cannot be read. */
export function readBody(request: FastifyRequest): unknown {
  const text = request.body;
  if (typeof text !== "string" || text === "") return undefined;
  try {
    return parseLenient(text);
  } catch (error) {
    const echo = { req_body: text.slice(0, ECHO_CHARACTERS) };
    throw new AnswerError(refuse(400, `invalid request body: ${reasonOf(error)}`, echo));
  }
}

/** The same of a whole configuration, which may be YAML: beside other work, and not repeated in answers. */
export async function readLargeBody(request: FastifyRequest): Promise<unknown> {
  const text = request.body;
  if (typeof text !== "string" || text === "") return undefined;
  const isYaml = (request.headers["content-type"] ?? "").startsWith("application/yaml");
  if (isYaml && text.length > LONGEST_YAML_CHARACTERS) {
    const message = `YAML of ${text.length} characters, expected at most ${LONGEST_YAML_CHARACTERS}, or JSON`;
    throw new AnswerError(refuse(400, `invalid request body: ${message}`));
  }
  try {
    if (isYaml) return await parseYaml(text, YAML_ALIASES);
    return await parseInSlices(text);
  } catch (error) {
    const lenient = isYaml ? null : escapeControls(text);
    if (lenient !== null && lenient !== text) return parseEscaped(lenient);
    throw new AnswerError(refuse(400, `invalid request body: ${reasonOf(error)}`));
  }
}

function parseEscaped(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch (error) {
    throw new AnswerError(refuse(400, `invalid request body: ${reasonOf(error)}`));
  }
}

/** V8 and the YAML parser quote the place of the fault, which may hold a secret; reasons are logged. */
const QUOTED_JSON = /, (?:\.\.\.)?".*is not valid JSON$/s;
const QUOTED_YAML = /:\n\n.*$/s;

function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return "unreadable";
  return error.message.replace(QUOTED_JSON, " in JSON").replace(QUOTED_YAML, "");
}

function parseLenient(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch (error) {
    const escaped = escapeControls(text);
    if (escaped === text) throw error;
    return JSON.parse(escaped) as unknown;
  }
}

/** The same text with control characters inside strings escaped. */
function escapeControls(text: string): string {
  let result = "";
  let isInString = false;
  let from = 0;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code === 0x22) isInString = !isInString;
    else if (!isInString) continue;
    else if (code === 0x5c) i++;
    else if (code < 0x20) {
      result += `${text.slice(from, i)}\\u${code.toString(16).padStart(4, "0")}`;
      from = i + 1;
    }
  }
  return from === 0 ? text : result + text.slice(from);
}
