/** Finds the client's address in what a proxy in front of the gateway says. */

import type { Exchange } from "../../plugin/index.ts";
import { isAddress, type AddressSet } from "../../lib/address.ts";

export interface SourceAddress {
  address: string;
  /** 0: the source names none. */
  port: number;
}

const FORWARDED_FOR = "http_x_forwarded_for";
const DIGITS = /^\d{1,5}$/;

/**
 * What the variable `source` holds. `X-Forwarded-For` is a list to which every proxy appends: its last entry
 * counts, or with `skipped` the last one that is not in that set (all of them are: the first).
 */
export function readSource(ctx: Exchange, source: string, skipped: AddressSet | null): string | undefined {
  if (source !== FORWARDED_FOR) return ctx.variable(source);
  const { names, values } = ctx.request.headers;
  const at = names.lastIndexOf("x-forwarded-for");
  if (at === -1) return undefined;
  const list = values[at];
  let end = list.length;
  for (;;) {
    const comma = list.lastIndexOf(",", end - 1);
    const entry = list.slice(comma + 1, end).trim();
    if (skipped === null || comma <= 0 || !skipped.has(entry)) return entry;
    end = comma;
  }
}

/** "1.2.3.4", "1.2.3.4:80", "::1", "[::1]" or "[::1]:80"; null for anything else. */
export function parseSource(text: string): SourceAddress | null {
  if (isAddress(text)) return { address: text, port: 0 };
  const colon = text.lastIndexOf(":");
  if (text.startsWith("[")) {
    const bracket = text.indexOf("]");
    const address = text.slice(1, bracket);
    if (bracket === -1 || !address.includes(":") || !isAddress(address)) return null;
    if (bracket === text.length - 1) return { address, port: 0 };
    return colon === bracket + 1 ? withPort(address, text.slice(colon + 1)) : null;
  }
  const address = text.slice(0, Math.max(colon, 0));
  return address.includes(":") || !isAddress(address) ? null : withPort(address, text.slice(colon + 1));
}

function withPort(address: string, digits: string): SourceAddress | null {
  const port = DIGITS.test(digits) ? Number(digits) : 0;
  return port >= 1 && port <= 65_535 ? { address, port } : null;
}
