/** A self-signed certificate (P-256) for the scenarios over TLS, made by OpenSSL's command. */

import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";

export interface Pair {
  cert: string;
  key: string;
}

export function selfSigned(folder: string): Pair {
  const [cert, key] = [join(folder, "cert.pem"), join(folder, "key.pem")];
  const args = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"];
  execFileSync("openssl", ["req", ...args, "-subj", "/CN=bench.example", "-keyout", key, "-out", cert], {
    stdio: "pipe",
  });
  return { cert: readFileSync(cert, "utf8"), key: readFileSync(key, "utf8") };
}
