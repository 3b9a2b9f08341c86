/**
 * How Node's own parser (llhttp, strict) reads the same bytes: the oracle of the differential fuzz test.
 *
 * `_http_common` is not a documented module; only this test depends on it.
 */

import { createRequire } from "node:module";
import type { ReadRequest, Reading } from "./reading.ts";

interface NodeParser {
  initialize(type: number, resource: object): void;
  execute(bytes: Buffer): number | Error;
  close(): void;
  [callback: number]: ((...args: never[]) => unknown) | null;
}

interface HttpCommon {
  HTTPParser: { new (): NodeParser } & Record<
    "REQUEST" | "kOnHeaders" | "kOnHeadersComplete" | "kOnBody" | "kOnMessageComplete",
    number
  >;
  methods: string[];
}

const { HTTPParser, methods } = createRequire(import.meta.url)("_http_common") as HttpCommon;
const { REQUEST, kOnHeaders, kOnHeadersComplete, kOnBody, kOnMessageComplete } = HTTPParser;

/** Names as Node numbers them: the parser's own order, which `http.METHODS` (sorted) does not have. */
export const NODE_METHODS: readonly string[] = methods;

export function readLikeNode(bytes: Buffer): Reading {
  const requests: ReadRequest[] = [];
  let fields: string[] = [];
  let current: ReadRequest | null = null;
  let body = "";
  const parser = new HTTPParser();
  parser.initialize(REQUEST, {});
  parser[kOnHeaders] = (headers: string[], url: string) => {
    fields.push(...headers);
    if (url !== "" && current === null) current = { method: "", target: url, headers: [], body: "" };
  };
  parser[kOnHeadersComplete] = (
    _major: number,
    _minor: number,
    headers: string[] | undefined,
    method: number,
    url: string | undefined,
  ) => {
    if (headers !== undefined) fields.push(...headers);
    current = { method: methods[method], target: url ?? current?.target ?? "", headers: [], body: "" };
    for (let i = 0; i < fields.length; i += 2) current.headers.push(`${fields[i]}: ${fields[i + 1]}`);
    fields = [];
    body = "";
    return 0;
  };
  parser[kOnBody] = (chunk: Buffer) => {
    body += chunk.toString("latin1");
  };
  parser[kOnMessageComplete] = () => {
    if (current === null) return;
    current.body = body;
    requests.push(current);
    current = null;
    // What came since the head is its trailer section, which is compared elsewhere.
    fields = [];
  };
  const result = parser.execute(bytes);
  parser.close();
  return {
    requests,
    error: result instanceof Error ? String((result as Error & { code?: string }).code) : null,
  };
}
