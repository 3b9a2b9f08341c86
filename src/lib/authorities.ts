/** The authorities that `apisix.ssl.ssl_trusted_certificate` names: those of the machine, of PEM files, or both. */

import { readFileSync } from "node:fs";

/** PEM of each; `sources`: "system", and paths. Throws when a file cannot be read. Slow: for once. */
export function readAuthorities(sources: readonly string[]): string[] {
  return sources.flatMap((source) => (source === "system" ? systemAuthorities() : [readAuthority(source)]));
}

/** Those of the machine; of Node.js, where the machine has none. */
function systemAuthorities(): string[] {
  const { getCACertificates } = process.getBuiltinModule("node:tls");
  const own = getCACertificates("system");
  return own.length > 0 ? own : getCACertificates("bundled");
}

function readAuthority(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    throw new Error(`apisix.ssl.ssl_trusted_certificate: ${(error as Error).message}`, { cause: error });
  }
}
