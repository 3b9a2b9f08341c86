/** What a scanner for weak TLS (Debian's sslscan) finds with the defaults: nothing. */

import assert from "node:assert/strict";
import { execFile, spawnSync } from "node:child_process";
import { test } from "node:test";
import { promisify } from "node:util";
import { wired } from "../../src/data/wire-test-kit.ts";
import { Authority, hasOpenssl } from "./certificate-authority.ts";

const hasScanner = spawnSync("sslscan", ["--version"]).status === 0;
const skip = hasScanner && hasOpenssl ? false : "there is no sslscan (Debian: sslscan) or no openssl";

/** What a key of so many bits is worth; less is weak. */
const LEAST_BITS = 128;

test(
  "a scanner finds no weak version, cipher, group or renegotiation with the defaults",
  { skip },
  async (t) => {
    const ca = Authority.make(t);
    const [ec, rsa] = [ca.issue({ names: ["a.com"] }), ca.issue({ names: ["a.com"], algorithm: "rsa" })];
    const gate = await wired(t, { routes: [] });
    gate.put("ssl", "1", { sni: "a.com", ...ec, certs: [rsa.cert], keys: [rsa.key] });
    const target = `127.0.0.1:${gate.tlsPort}`;
    const { stdout } = await promisify(execFile)("sslscan", ["--xml=-", "--sni-name=a.com", target]);

    const found = (tag: string): Map<string, string>[] =>
      [...stdout.matchAll(new RegExp(`<${tag} (.*?)/>`, "g"))].map(
        ([, text]) => new Map([...text.matchAll(/(\w+)="([^"]*)"/g)].map(([, name, value]) => [name, value])),
      );
    const enabled = found("protocol").filter((each) => each.get("enabled") === "1");
    assert.deepEqual(
      enabled.map((each) => each.get("version")),
      ["1.2", "1.3"],
    );
    const ciphers = found("cipher");
    assert.ok(ciphers.length >= 9, stdout);
    for (const cipher of ciphers) {
      const name = cipher.get("cipher")!;
      assert.match(cipher.get("strength")!, /^(?:strong|acceptable)$/, name);
      assert.match(name, /^(?:TLS_|ECDHE-).*(?:GCM|POLY1305)/);
      assert.ok(Number(cipher.get("bits")) >= LEAST_BITS, name);
    }
    const groups = found("group");
    assert.ok(groups.length >= 5, stdout);
    for (const group of groups) assert.ok(Number(group.get("bits")) >= LEAST_BITS, group.get("name"));
    assert.deepEqual(
      found("renegotiation").map((each) => each.get("supported")),
      ["0"],
    );
    assert.ok(found("heartbleed").every((each) => each.get("vulnerable") === "0"));
  },
);
