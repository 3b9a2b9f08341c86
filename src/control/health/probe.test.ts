/** Probes against real sockets: TCP, HTTP, HTTPS, gRPC, and targets that misbehave. */

import assert from "node:assert/strict";
import { createServer as createHttp, type IncomingMessage } from "node:http";
import { createServer as createHttp2 } from "node:http2";
import { createServer as createHttps } from "node:https";
import { type AddressInfo, createServer, type Server } from "node:net";
import { test, type TestContext } from "node:test";
import { type ActiveChecks, healthChecksOf } from "../../model/health-checks.ts";
import { CERTIFICATE as cert, PRIVATE_KEY as key } from "../../model/certificate-kit.ts";
import type { PublishedUpstream } from "../../model/published.ts";
import { checkRequest, startGrpcProbe } from "./grpc-probe.ts";
import { type ProbeOutcome, probeRequest, startProbe } from "./probe.ts";
import type { Target } from "./targets.ts";
import { freePort } from "../../../test/ports/free-port.ts";

function activeOf(active: Partial<ActiveChecks>): ActiveChecks {
  return healthChecksOf({ checks: { active } } as unknown as PublishedUpstream)!.active;
}

async function listen(t: TestContext, server: Server | ReturnType<typeof createHttp2>): Promise<number> {
  await new Promise<void>((resolve) => {
    server.listen(0, "127.0.0.1", resolve);
  });
  t.after(() => server.close());
  return (server.address() as AddressInfo).port;
}

function targetOf(port: number, hostHeader = "127.0.0.1"): Target {
  return { address: "127.0.0.1", port, host: hostHeader, hostHeader, hostname: hostHeader };
}

function probe(target: Target, active: ActiveChecks): Promise<ProbeOutcome> {
  return new Promise((resolve) => {
    if (active.type === "grpc") startGrpcProbe(target, active, null, resolve);
    else startProbe(target, active, probeRequest(target, active), null, resolve);
  });
}

test("a probe over HTTP sends what the check says, and tells the status", async (t) => {
  let seen: IncomingMessage | null = null;
  let body = "";
  const server = createHttp((request, response) => {
    seen = request;
    request.on("data", (chunk: Buffer) => {
      body += chunk.toString();
    });
    request.on("end", () => response.writeHead(503).end("x".repeat(100_000)));
  });
  const port = await listen(t, server);
  const active = activeOf({
    http_method: "POST",
    http_path: "/sta tus",
    http_req_body: "häh",
    req_headers: ["X-Probe: 1", "bad\r\nX-Evil: 1", "User-Agent: curl"],
  });
  assert.deepEqual(await probe(targetOf(port, "a.test"), active), { outcome: "status", status: 503 });
  assert.equal(seen!.method, "POST");
  assert.equal(seen!.url, "/sta%20tus");
  assert.equal(body, "häh");
  const { host, connection, "user-agent": agent, "x-probe": own, "x-evil": evil } = seen!.headers;
  assert.deepEqual([host, connection, agent, own, evil], ["a.test", "close", "curl", "1", undefined]);
});

test("a probe over TCP asks for nothing more than a connection", async (t) => {
  const port = await listen(t, createServer());
  assert.deepEqual(await probe(targetOf(port), activeOf({ type: "tcp" })), { outcome: "connected" });
});

test("nobody there is a failure", async () => {
  const outcome = await probe(targetOf(await freePort()), activeOf({}));
  assert.equal(outcome.outcome, "failed");
});

const MISBEHAVIOURS: readonly (readonly [string, string | null, string])[] = [
  ["closes without an answer", "", "failed"],
  ["speaks something else", "SSH-2.0-OpenSSH_9.2\r\n", "failed"],
  ["sends a line without end", "x".repeat(2000), "failed"],
  ["says nothing", null, "timeout"],
];

for (const [what, answer, expected] of MISBEHAVIOURS) {
  test(`a target that ${what} is a ${expected}`, async (t) => {
    const server = createServer((socket) => {
      socket.on("error", () => {});
      if (answer !== null) socket.end(answer);
      t.after(() => socket.destroy());
    });
    const timeout = expected === "timeout" ? 0.2 : 60;
    const outcome = await probe(targetOf(await listen(t, server)), activeOf({ timeout }));
    assert.equal(outcome.outcome, expected);
  });
}

test("HTTPS: the certificate is verified unless the check says no", async (t) => {
  const names: (string | false | null | undefined)[] = [];
  const server = createHttps({ cert, key }, (request, response) => {
    names.push((request.socket as unknown as { servername?: string }).servername);
    response.end();
  });
  const port = await listen(t, server);
  const strict = await probe(targetOf(port, "a.test"), activeOf({ type: "https" }));
  assert.equal(strict.outcome, "failed");
  const lax = activeOf({ type: "https", https_verify_certificate: false });
  assert.deepEqual(await probe(targetOf(port, "a.test"), lax), { outcome: "status", status: 200 });
  assert.deepEqual(names, ["a.test"]);
});

test("gRPC: the health protocol is spoken, for the service that is named", async (t) => {
  const asked: string[] = [];
  const server = createHttp2();
  server.on("stream", (stream, headers) => {
    let body = Buffer.alloc(0);
    stream.on("data", (chunk: Buffer) => {
      body = Buffer.concat([body, chunk]);
    });
    stream.on("end", () => {
      const service = body.subarray(7).toString();
      asked.push(`${headers[":path"]} ${service}`);
      stream.respond({ ":status": 200, "content-type": "application/grpc" }, { waitForTrailers: true });
      stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
      stream.end(Buffer.from([0, 0, 0, 0, 2, 8, service === "down" ? 2 : 1]));
    });
  });
  const target = targetOf(await listen(t, server));
  const serving = await probe(target, activeOf({ type: "grpc", grpc_service: "up" }));
  assert.deepEqual(serving, { outcome: "serving", isServing: true });
  const down = await probe(target, activeOf({ type: "grpc", grpc_service: "down" }));
  assert.deepEqual(down, { outcome: "serving", isServing: false });
  assert.deepEqual(asked, ["/grpc.health.v1.Health/Check up", "/grpc.health.v1.Health/Check down"]);
  assert.deepEqual(checkRequest(""), Buffer.from([0, 0, 0, 0, 0]));
});

test("an aborted probe tells nothing", async (t) => {
  const closed = Promise.withResolvers<void>();
  const server = createServer((socket) => {
    socket.on("error", () => {}).on("close", () => closed.resolve());
    running.abort();
  });
  const target = targetOf(await listen(t, server));
  const active = activeOf({});
  const running = startProbe(target, active, null, null, () => assert.fail("it was told"));
  await closed.promise;
});
