import assert from "node:assert/strict";
import { test } from "node:test";
import { Authority, hasOpenssl } from "../../../../test/tls/certificate-authority.ts";
import { answerOf, OcspResponder } from "../../../../test/tls/ocsp-responder.ts";
import type { Staple } from "../../../model/published.ts";
import { RegistryClient } from "../../discovery/registry-client.ts";
import { ocspPlan } from "./plan.ts";

const options = { skip: hasOpenssl ? false : "there is no openssl" };

test(
  "an OCSP answer is asked for again when half of its time is over, or the setting's",
  options,
  async (t) => {
    const ca = Authority.make(t);
    const responder = await OcspResponder.start(t);
    const { cert } = ca.issue({ names: ["a.com"], extensions: [responder.extension] });
    const client = new RegistryClient();
    t.after(() => client.close());
    const plan = (cache_ttl: number, isOwn = false) =>
      ocspPlan(cert + ca.pair.cert, { skip_verify: false, cache_ttl }, client, () => isOwn);
    const { signal } = new AbortController();
    responder.answer = (question) => answerOf(ca, question, { minutes: 10 });
    const before = Date.now();
    const { value, pauseMs } = await plan(3600).fetch(signal);
    const { response, untilMs } = JSON.parse(value) as Staple;
    assert.ok(pauseMs > 200_000 && pauseMs <= 300_000, String(pauseMs));
    assert.ok(untilMs > before + 540_000 && untilMs <= Date.now() + 600_000);
    assert.ok(Buffer.from(response, "base64").length > 100);
    assert.equal((await plan(60).fetch(signal)).pauseMs, 60_000);
    assert.notEqual(plan(60).key, plan(3600).key);

    await assert.rejects(plan(60, true).fetch(signal), /listener of this node/);
    responder.answer = null;
    await assert.rejects(plan(60).fetch(signal), /127\.0\.0\.1:\d+: status 503/);
    responder.answer = () => Buffer.alloc(70_000);
    await assert.rejects(plan(60).fetch(signal), /more than 65536 bytes/);
  },
);
