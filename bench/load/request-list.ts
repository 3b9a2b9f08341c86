/** Lists of requests: what a client sends, in which order, as files for the load generators. */

import { writeFileSync } from "node:fs";
import { seededRandom } from "../statistics.ts";

const SEED = 20_26;
/** Longest list; a Zipf draw of this many items shows its tail, and wrk loads it in a blink. */
const MAX_LIST_LENGTH = 65_536;
const RECORD_SEPARATOR = "\u001E";

export interface RequestShape {
  method?: string;
  target: string;
  host?: string;
  headers?: Record<string, string>;
  body?: string;
}

export function requestText({
  method = "GET",
  target,
  host = "bench.example",
  headers = {},
  body,
}: RequestShape): string {
  const fields = { host, "user-agent": "bench", accept: "*/*", ...headers };
  const lines = Object.entries(fields).map(([name, value]) => `${name}: ${value}\r\n`);
  if (body !== undefined) lines.push(`content-length: ${Buffer.byteLength(body)}\r\n`);
  return `${method} ${target} HTTP/1.1\r\n${lines.join("")}\r\n${body ?? ""}`;
}

export function writeRequests(file: string, shapes: readonly RequestShape[]): void {
  writeFileSync(file, shapes.map(requestText).join(RECORD_SEPARATOR));
}

export function writeTargets(file: string, port: number, targets: readonly string[]): void {
  writeFileSync(file, targets.map((target) => `http://127.0.0.1:${port}${target}\n`).join(""));
}

/** Every item once, in random order (Fisher-Yates, seeded): the worst case for caches. */
export function shuffled<T>(items: readonly T[]): T[] {
  const random = seededRandom(SEED);
  const list = [...items];
  for (let i = list.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [list[i], list[j]] = [list[j], list[i]];
  }
  return list;
}

/** Draws with the frequencies of Zipf's law (exponent 1) over the items in random order: how sites are used. */
export function zipfDraws<T>(items: readonly T[], count = MAX_LIST_LENGTH): T[] {
  const ranked = shuffled(items);
  const random = seededRandom(SEED + 1);
  const cumulated = new Float64Array(ranked.length);
  let sum = 0;
  for (let i = 0; i < ranked.length; i++) cumulated[i] = sum += 1 / (i + 1);
  return Array.from({ length: count }, () => ranked[lowerBound(cumulated, random() * sum)]);
}

function lowerBound(ascending: Float64Array, value: number): number {
  let low = 0;
  let high = ascending.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (ascending[middle] < value) low = middle + 1;
    else high = middle;
  }
  return low;
}
