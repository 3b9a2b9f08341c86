/** OCSP answers for stapling: asked for with POST (RFC 6960 A.1), kept until half of their time is over. */

import { createHash } from "node:crypto";
import type { PublishedSsl, Staple } from "../../../model/published.ts";
import type { RegistryClient } from "../../discovery/registry-client.ts";
import type { FetchPlan } from "../fetched-values.ts";
import { readOcspAnswer } from "./answer.ts";
import { ocspQuestion } from "./question.ts";

/** Of public authorities they have 500 bytes to 2 KB. */
const MAX_ANSWER_BYTES = 65_536;
const TIMEOUTS = { connectMs: 5000, readMs: 5000 };
/** Between two questions, however short the answer's time is. */
const LEAST_PAUSE_MS = 1000;

/** The value that is fetched is a `Staple` as JSON. `chain`: PEM, the server's certificate first. */
export function ocspPlan(
  chain: string,
  { skip_verify: isTrusted, cache_ttl: ttlS }: NonNullable<PublishedSsl["ocsp"]>,
  client: RegistryClient,
  isOwn: (url: URL) => boolean,
): FetchPlan {
  const name = createHash("sha256").update(chain).digest("hex");
  return {
    key: `ocsp ${name} ${ttlS} ${isTrusted}`,
    type: "ocsp",
    shown: `sha256:${name.slice(0, 16)}`,
    async fetch(signal) {
      const question = await ocspQuestion(chain);
      const { url } = question;
      if (isOwn(url)) throw new Error("the responder that the certificate names is a listener of this node");
      const { bytes } = await client.askBytes({
        url,
        method: "POST",
        headers: { accept: "application/ocsp-response", "content-type": "application/ocsp-request" },
        body: question.bytes,
        timeouts: TIMEOUTS,
        maxBytes: MAX_ANSWER_BYTES,
        signal,
      });
      const now = Date.now();
      const verdict = await readOcspAnswer(bytes, question, now, isTrusted);
      const untilMs = verdict.untilMs ?? now + ttlS * 1000;
      const staple: Staple = { response: bytes.toString("base64"), untilMs };
      const halfMs = Math.max((untilMs - now) / 2, LEAST_PAUSE_MS);
      return { value: JSON.stringify(staple), pauseMs: Math.min(ttlS * 1000, halfMs) };
    },
  };
}
