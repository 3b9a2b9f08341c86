import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Authority, hasOpenssl } from "../../../../test/tls/certificate-authority.ts";
import { answerOf } from "../../../../test/tls/ocsp-responder.ts";
import { readOcspAnswer } from "./answer.ts";
import { ocspQuestion } from "./question.ts";

const RESPONDER = "authorityInfoAccess=OCSP;URI:http://127.0.0.1:1/ocsp";

describe("an OCSP answer", { skip: hasOpenssl ? false : "there is no openssl" }, () => {
  test("is taken from the issuer and from whom it let sign, for as long as it says", async (t) => {
    const ca = Authority.make(t);
    const chain = (name: string) => ca.issue({ names: [name], extensions: [RESPONDER] }).cert + ca.pair.cert;
    const question = await ocspQuestion(chain("a.com"));
    assert.equal(question.url.href, "http://127.0.0.1:1/ocsp");
    const delegate = ca.issue({
      names: ["signer"],
      algorithm: "rsa",
      extensions: ["extendedKeyUsage=OCSPSigning"],
    });
    for (const options of [{}, { signer: delegate }, { digest: "sha384" }]) {
      const answer = answerOf(ca, question.bytes, { minutes: 30, ...options });
      const { untilMs } = await readOcspAnswer(answer, question, Date.now(), false);
      const leftMs = untilMs! - Date.now();
      assert.ok(leftMs > 25 * 60_000 && leftMs <= 30 * 60_000, String(leftMs));
      await assert.rejects(readOcspAnswer(answer, question, untilMs!, false), /no longer valid/);
      await assert.rejects(
        readOcspAnswer(answer, question, Date.now() - 3_600_000, false),
        /not valid yet|nobody who may/,
      );
    }
  });

  test("is refused with the reason", async (t) => {
    const [ca, others] = [Authority.make(t), Authority.make(t, "Others")];
    const issue = (name: string) => ca.issue({ names: [name], extensions: [RESPONDER] }).cert + ca.pair.cert;
    const [question, other] = [await ocspQuestion(issue("a.com")), await ocspQuestion(issue("b.com"))];
    const read = (bytes: Buffer, isTrusted = false) => readOcspAnswer(bytes, question, Date.now(), isTrusted);
    const own = answerOf(ca, question.bytes);
    await assert.rejects(read(answerOf(ca, other.bytes)), /about another certificate/);
    await assert.rejects(read(answerOf(ca, question.bytes, { revoked: ["a.com"] })), /revoked/);
    await assert.rejects(read(Buffer.from("no answer")), /cannot be read/);
    await assert.rejects(read(own.subarray(0, 100)), /cannot be read/);
    // Sequences in sequences, as many as an answer has room for.
    await assert.rejects(read(Buffer.alloc(65_536, Buffer.from([0x30, 0x80]))), /cannot be read/);
    await assert.rejects(read(Buffer.from([0x30, 3, 0x0a, 1, 6])), /status 6/);
    await assert.rejects(read(answerOf(ca, question.bytes, { digest: "sha1" })), /nobody who may/);
    const stranger = answerOf(ca, question.bytes, { signer: others.pair });
    await assert.rejects(read(stranger), /nobody who may/);
    // One that the authority issued for something else.
    const server = ca.issue({ names: ["c.com"] });
    await assert.rejects(read(answerOf(ca, question.bytes, { signer: server })), /nobody who may/);
    assert.notEqual((await read(stranger, true)).untilMs, null);
    // Somebody changed a bit on the way.
    for (let i = 40; i < own.length; i += 7) {
      const changed = Buffer.from(own);
      changed[i] ^= 1;
      await assert.rejects(read(changed), Error, `byte ${i}`);
    }
  });

  test("without an end is taken for a week", async (t) => {
    const ca = Authority.make(t);
    const { cert } = ca.issue({ names: ["a.com"], extensions: [RESPONDER] });
    const question = await ocspQuestion(cert + ca.pair.cert);
    const answer = answerOf(ca, question.bytes, { minutes: null });
    const inDays = (days: number) => readOcspAnswer(answer, question, Date.now() + days * 86_400_000, false);
    assert.equal((await inDays(6)).untilMs, null);
    await assert.rejects(inDays(8), /of more than a week ago/);
  });

  test("cannot be asked for where the certificate does not say where", async (t) => {
    const ca = Authority.make(t);
    const plain = ca.issue({ names: ["a.com"] });
    await assert.rejects(ocspQuestion(plain.cert + ca.pair.cert), /names no OCSP responder/);
    const alone = ca.issue({ names: ["a.com"], extensions: [RESPONDER] });
    await assert.rejects(ocspQuestion(alone.cert), /no certificate of the issuer/);
    await assert.rejects(
      ocspQuestion(alone.cert + Authority.make(t).pair.cert),
      /no certificate of the issuer/,
    );
    await assert.rejects(ocspQuestion("$env://NOTHING"), /no certificate/);
  });
});
