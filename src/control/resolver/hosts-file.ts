/**
 * /etc/hosts (hosts(5)), read again when it changed, and `localhost`, which is always the loopback
 * (RFC 6761 6.3), whatever a file or a DNS server says. It is the one of IPv4 alone: every address is a node
 * that gets its share, and what listens on localhost seldom listens on both.
 */

import { readFile, stat } from "node:fs/promises";
import { isIP } from "node:net";

const MAX_BYTES = 4 << 20;

export class HostsFile {
  readonly #path: string;
  #version = "";
  #entries = new Map<string, string[]>();

  constructor(path = "/etc/hosts") {
    this.#path = path;
  }

  /** Addresses of a name (lower case), or null when the file does not have it. */
  async lookup(host: string): Promise<readonly string[] | null> {
    if (host === "localhost" || host.endsWith(".localhost")) return ["127.0.0.1"];
    await this.#refresh();
    return this.#entries.get(host) ?? null;
  }

  async #refresh(): Promise<void> {
    try {
      const { mtimeMs, size, ino } = await stat(this.#path);
      const version = `${ino} ${mtimeMs} ${size}`;
      if (version === this.#version || size > MAX_BYTES) return;
      this.#entries = parseHosts(await readFile(this.#path, "utf8"));
      this.#version = version;
    } catch {
      // Unreadable or gone: no entries, and it is looked at again the next time.
      this.#entries = new Map();
      this.#version = "";
    }
  }
}

function parseHosts(text: string): Map<string, string[]> {
  const entries = new Map<string, string[]>();
  for (const line of text.split("\n")) {
    const [address = "", ...names] = line.replace(/#.*/, "").trim().split(/\s+/);
    if (isIP(address) === 0) continue;
    for (const name of names) {
      const host = name.toLowerCase();
      const addresses = entries.get(host);
      if (addresses === undefined) entries.set(host, [address]);
      else if (!addresses.includes(address)) addresses.push(address);
    }
  }
  return entries;
}
