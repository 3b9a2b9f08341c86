/**
 * What of resolv.conf(5) concerns names: the search list and `ndots`. (Servers are read by the DNS client.)
 * Read once: a change of it needs a restart, as with most programs.
 */

import { readFileSync } from "node:fs";

const MAX_SEARCH = 6;

export interface SearchRules {
  /** Domains that are appended to short names, without a dot at either end. */
  domains: readonly string[];
  /** Names with at least so many dots are tried as they are first. */
  dots: number;
}

export const NO_SEARCH: SearchRules = { domains: [], dots: 1 };

export function parseSearchRules(text: string): SearchRules {
  let domains: string[] = [];
  let dots = 1;
  for (const line of text.split("\n")) {
    const [keyword, ...words] = line
      .replace(/[#;].*/, "")
      .trim()
      .split(/\s+/);
    if (keyword === "search" || keyword === "domain") domains = words.map((word) => word.replace(/\.$/, ""));
    if (keyword !== "options") continue;
    for (const option of words) {
      const match = /^ndots:(\d+)$/.exec(option);
      if (match !== null) dots = Math.min(Number(match[1]), 15);
    }
  }
  return { domains: domains.filter((domain) => domain !== "").slice(0, MAX_SEARCH), dots };
}

export function readSearchRules(path = "/etc/resolv.conf"): SearchRules {
  try {
    return parseSearchRules(readFileSync(path, "utf8"));
  } catch {
    // No such file: no search list.
    return NO_SEARCH;
  }
}

/** The names to ask for, in order. A final dot says that the name is complete. */
export function candidates(host: string, rules: SearchRules): string[] {
  if (host.endsWith(".")) return [host.slice(0, -1)];
  const searched = rules.domains.map((domain) => `${host}.${domain}`);
  const isLong = host.split(".").length - 1 >= rules.dots;
  return isLong ? [host, ...searched] : [...searched, host];
}
