/**
 * An OCSP responder for tests: answers are made by `openssl ocsp` of what an authority issued, and served over HTTP until
 * the test says otherwise.
 */

import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import type { TestContext } from "node:test";
import type { Authority, Pair } from "./certificate-authority.ts";

export interface AnswerOptions {
  /** Names that are revoked. */
  revoked?: string[];
  /** Who signs instead of the authority; its certificate goes along. */
  signer?: Pair;
  /** Until the next update; null: it does not say when that is. */
  minutes?: number | null;
  digest?: string;
}

/** The DER of an answer to a question in DER. */
export function answerOf(authority: Authority, question: Buffer, options: AnswerOptions = {}): Buffer {
  const at = (name: string): string => join(authority.folder, `ocsp.${name}`);
  const { revoked, signer = authority.pair, minutes = 60, digest = "sha256" } = options;
  writeFileSync(at("question"), question);
  writeFileSync(at("index"), authority.index(revoked));
  writeFileSync(at("index.attr"), "unique_subject = no\n");
  writeFileSync(at("signer"), signer.cert + signer.key);
  writeFileSync(at("ca"), authority.pair.cert);
  execFileSync(
    "openssl",
    [
      ["ocsp", "-index", at("index"), "-CA", at("ca"), "-rsigner", at("signer"), "-rmd", digest],
      options.signer === undefined ? ["-resp_no_certs"] : [],
      ["-reqin", at("question"), "-respout", at("answer")],
      minutes === null ? [] : ["-nmin", String(minutes)],
    ].flat(),
    { stdio: "pipe" },
  );
  return readFileSync(at("answer"));
}

export class OcspResponder {
  readonly questions: Buffer[] = [];
  /** Gives the answer; null: status 503. */
  answer: ((question: Buffer) => Buffer | null) | null = null;
  readonly #server: Server;
  #wake: (() => void)[] = [];

  private constructor(server: Server) {
    this.#server = server;
  }

  static async start(t: TestContext): Promise<OcspResponder> {
    const server = createServer();
    const responder = new OcspResponder(server);
    server.on("request", (request, response) => {
      const chunks: Buffer[] = [];
      request.on("data", (chunk: Buffer) => chunks.push(chunk));
      request.on("end", () => {
        const question = Buffer.concat(chunks);
        const answer = responder.answer?.(question) ?? null;
        response.statusCode = answer === null ? 503 : 200;
        response.setHeader("content-type", "application/ocsp-response");
        response.end(answer);
        responder.questions.push(question);
        for (const wake of responder.#wake.splice(0)) wake();
      });
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", () => resolve()));
    t.after(() => {
      server.closeAllConnections();
      server.close();
    });
    return responder;
  }

  /** Line for a certificate that is asked for here. */
  get extension(): string {
    return `authorityInfoAccess=OCSP;URI:http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/ocsp`;
  }

  /** Ends when so many questions were answered. */
  async asked(count: number): Promise<void> {
    while (this.questions.length < count) {
      await new Promise<void>((resolve) => {
        this.#wake.push(resolve);
      });
    }
  }
}
