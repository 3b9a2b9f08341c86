/**
 * Certificates for tests, made by OpenSSL's command in a folder that goes with the process: authorities, servers,
 * clients, of RSA and elliptic curves, expired ones and ones that are not valid yet.
 */

import { execFileSync, spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { processFolder } from "../folders/process-folder.ts";

export interface Pair {
  cert: string;
  key: string;
}

export interface Wanted {
  /** Names of the subject alternative name; the first is the common name, too. */
  names: string[];
  algorithm?: "ec" | "rsa";
  /** Days from now: from, to. */
  valid?: [from: number, to: number];
  isAuthority?: boolean;
  /** Further lines of OpenSSL's configuration: "extendedKeyUsage=OCSPSigning". */
  extensions?: string[];
}

export const hasOpenssl = spawnSync("openssl", ["version"]).status === 0;

/** One authority; `issue` may be asked for intermediate ones, which issue in turn. */
export class Authority {
  readonly folder: string;
  readonly pair: Pair;
  #serial = 1;

  private constructor(folder: string, pair: Pair) {
    this.folder = folder;
    this.pair = pair;
  }

  static make(_t: TestContext, name = "Test CA"): Authority {
    const folder = processFolder("cardea-ca-");
    const [cert, key] = [join(folder, "ca.pem"), join(folder, "ca.key")];
    openssl(
      ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30"],
      ["-subj", `/O=Cardea/CN=${name}`, "-keyout", key, "-out", cert],
    );
    return new Authority(folder, { cert: readFileSync(cert, "utf8"), key: readFileSync(key, "utf8") });
  }

  issue({ names, algorithm = "ec", valid = [-1, 10], isAuthority = false, extensions = [] }: Wanted): Pair {
    const serial = this.#serial++;
    const at = (name: string): string => join(this.folder, `${serial}.${name}`);
    const curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"];
    openssl(
      ["req", "-new", "-nodes", ...(algorithm === "ec" ? curve : ["-newkey", "rsa:2048"])],
      ["-subj", `/O=Cardea/CN=${names[0]}`, "-keyout", at("key"), "-out", at("csr")],
    );
    const list = names.map((name) => `DNS:${name}`).join(",");
    const kind = isAuthority ? "basicConstraints=critical,CA:TRUE" : `subjectAltName=${list}`;
    writeFileSync(at("ext"), [kind, ...extensions, ""].join("\n"));
    writeFileSync(at("index"), "");
    writeFileSync(
      at("conf"),
      `[ca]\ndefault_ca=d\n[d]\ndatabase=${at("index")}\nrand_serial=yes\nnew_certs_dir=${this.folder}\ndefault_md=sha256\npolicy=p\nunique_subject=no\n[p]\nO=optional\nCN=supplied\n`,
    );
    openssl(
      ["ca", "-batch", "-notext", "-config", at("conf"), "-cert", join(this.folder, "ca.pem")],
      ["-keyfile", join(this.folder, "ca.key"), "-in", at("csr"), "-out", at("pem"), "-extfile", at("ext")],
      ["-startdate", dateText(valid[0]), "-enddate", dateText(valid[1])],
    );
    return { cert: readFileSync(at("pem"), "utf8"), key: readFileSync(at("key"), "utf8") };
  }

  /** What `openssl ocsp` knows of all that was issued; the revoked names are those of subjects. */
  index(revoked: readonly string[] = []): string {
    const lines: string[] = [];
    for (let serial = 1; serial < this.#serial; serial++) {
      const line = readFileSync(join(this.folder, `${serial}.index`), "utf8");
      const isRevoked = revoked.some((name) => line.includes(`/CN=${name}\n`));
      lines.push(isRevoked ? line.replace(/^V\t(\w+)\t\t/, `R\t$1\t${dateText(-1).slice(2)}\t`) : line);
    }
    return lines.join("");
  }

  /** An authority that this one signed. */
  intermediate(_t: TestContext, name: string): Authority {
    const pair = this.issue({ names: [name], isAuthority: true });
    const folder = processFolder("cardea-ca-");
    writeFileSync(join(folder, "ca.pem"), pair.cert);
    writeFileSync(join(folder, "ca.key"), pair.key);
    return new Authority(folder, pair);
  }
}

function openssl(...args: string[][]): void {
  execFileSync("openssl", args.flat(), { stdio: "pipe" });
}

/** "20261121120000Z" */
function dateText(days: number): string {
  const text = new Date(Date.now() + days * 86_400_000).toISOString();
  return `${text.slice(0, 19).replace(/[-T:]/g, "")}Z`;
}
