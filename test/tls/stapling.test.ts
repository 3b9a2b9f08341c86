/** A whole node that staples: clients are shown what the authority says of the certificate, as long as it holds. */

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { X509Certificate } from "node:crypto";
import { once } from "node:events";
import { test } from "node:test";
import { RealNode, withTls } from "../promises/real-node.ts";
import { Authority, hasOpenssl, type Pair } from "./certificate-authority.ts";
import { answerOf, OcspResponder } from "./ocsp-responder.ts";

const options = { skip: hasOpenssl ? false : "there is no openssl" };

interface Shown {
  /** "good", "none", or what OpenSSL says instead. */
  status: string;
  /** Kind of key of the certificate that came with it: "EC", "RSA". */
  kind: string;
}

/** What `openssl s_client` is shown. Fails over an answer for another certificate. */
async function shown(port: number, name: string, more: string[] = []): Promise<Shown> {
  const target = ["s_client", "-status", "-connect", `127.0.0.1:${port}`, "-servername", name, ...more];
  const client = spawn("openssl", target, { stdio: ["ignore", "pipe", "ignore"] });
  let stdout = "";
  client.stdout.setEncoding("utf8").on("data", (text: string) => (stdout += text));
  await once(client, "close");
  const status = stdout.includes("OCSP response: no response sent")
    ? "none"
    : (/Cert Status: (\w+)/.exec(stdout)?.[1] ?? stdout.slice(0, 200));
  const [pem] = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/.exec(stdout) ?? [""];
  if (status !== "none") {
    const answered = /Serial Number: (\w+)/.exec(stdout)?.[1];
    assert.equal(answered, new X509Certificate(pem).serialNumber);
  }
  const kind = /Server public key is 2048/.test(stdout) ? "RSA" : "EC";
  return { status, kind };
}

const withIssuer = (ca: Authority, { cert, key }: Pair): Pair => ({ cert: cert + ca.pair.cert, key });

test(
  "clients that ask are shown the answer of the certificate's own authority, and the handshake goes on without",
  options,
  async (t) => {
    const ca = Authority.make(t);
    const responder = await OcspResponder.start(t);
    const issue = (name: string, algorithm: "ec" | "rsa" = "ec") =>
      withIssuer(ca, ca.issue({ names: [name], algorithm, extensions: [responder.extension] }));
    responder.answer = (question) => answerOf(ca, question);
    const node = await RealNode.start(t, { change: await withTls() });
    const port = node.port("https");
    const ocsp_stapling = { enabled: true };
    const stapled = async (name: string, more: string[] = []): Promise<Shown> => {
      for (;;) {
        const seen = await shown(port, name, more);
        if (seen.status !== "none") return seen;
      }
    };

    await node.put("/ssls/1", { sni: "a.com", ...issue("a.com"), ocsp_stapling });
    assert.deepEqual(await stapled("a.com"), { status: "good", kind: "EC" });
    assert.deepEqual(await stapled("a.com", ["-tls1_2"]), { status: "good", kind: "EC" });
    assert.equal(responder.questions.length, 1);

    // Two pairs: each client that can be told apart has the answer of the certificate that it is shown.
    const [ec, rsa] = [issue("b.com"), issue("b.com", "rsa")];
    const both = { sni: "b.com", ...rsa, certs: [ec.cert], keys: [ec.key], ocsp_stapling };
    await node.put("/ssls/2", both);
    assert.deepEqual(await stapled("b.com", ["-sigalgs", "rsa_pss_rsae_sha256"]), {
      status: "good",
      kind: "RSA",
    });
    assert.deepEqual(await stapled("b.com", ["-sigalgs", "ecdsa_secp256r1_sha256"]), {
      status: "good",
      kind: "EC",
    });
    assert.equal((await stapled("b.com")).kind, "EC");
    assert.equal((await shown(port, "b.com", ["-tls1_2"])).status, "none");

    // Off, not asked.
    await node.put("/ssls/3", { sni: "c.com", ...issue("c.com") });
    assert.equal((await shown(port, "c.com")).status, "none");
    // What is bad is not shown, and neither is anything where nobody answers.
    responder.answer = (question) => answerOf(ca, question, { revoked: ["d.com"] });
    await node.put("/ssls/4", { sni: "d.com", ...issue("d.com"), ocsp_stapling });
    const line = await node.logged("a source of certificates fails");
    assert.match(String(line["reason"]), /revoked/);
    assert.equal((await shown(port, "d.com")).status, "none");
    assert.equal((await stapled("a.com")).status, "good");

    const page = await (await fetch(`${node.url("metrics")}/apisix/prometheus/metrics`)).text();
    assert.match(page, /^apisix_ssl_source_age_seconds\{type="ocsp",source="sha256:[0-9a-f]{16}"\} \d/m);
    assert.match(page, /^apisix_ssl_source_failures_total\{type="ocsp",source="[^"]+"\} 1$/m);
  },
);
