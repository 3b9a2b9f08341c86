/**
 * One probe of one target over TCP, HTTP or HTTPS: a connection, a request if the check has one, the status.
 *
 * What fails before a status is a TCP failure, or a timeout when the time of the probe as a whole is over. The
 * connection is closed at once, with what remains of the answer unread.
 */

import { connect, isIP, type Socket } from "node:net";
import { connect as connectTls, type ConnectionOptions, type SecureContext } from "node:tls";
import type { ActiveChecks } from "../../model/health-checks.ts";
import type { Target } from "./targets.ts";

export type ProbeOutcome =
  | { outcome: "connected" }
  | { outcome: "status"; status: number }
  /** gRPC: the server said whether it serves. */
  | { outcome: "serving"; isServing: boolean }
  | { outcome: "failed"; reason: string }
  | { outcome: "timeout" };

export interface Probe {
  /** Ends it; nothing more is told. */
  abort(): void;
}

/** Bytes within which the status line must end. */
const MAX_STATUS_LINE = 1024;
const STATUS_LINE = /^HTTP\/1\.[01] (\d{3})[ \r\n]/;

/** Calls `done` once, and never before it returns. `context`: for TLS; null: that of Node.js. */
export function startProbe(
  target: Target,
  checks: ActiveChecks,
  request: Buffer | null,
  context: SecureContext | null,
  done: (outcome: ProbeOutcome) => void,
): Probe {
  const socket = open(target, checks, context);
  let text = "";
  let isOver = false;
  const end = (outcome: ProbeOutcome): void => {
    if (isOver) return;
    isOver = true;
    clearTimeout(timer);
    socket.destroy();
    done(outcome);
  };
  const timer = setTimeout(() => end({ outcome: "timeout" }), checks.timeout * 1000);
  socket.once(checks.type === "https" ? "secureConnect" : "connect", () => {
    if (request === null) end({ outcome: "connected" });
    else socket.write(request);
  });
  socket.on("data", (chunk: Buffer) => {
    if (isOver) return;
    text += chunk.toString("latin1");
    const status = STATUS_LINE.exec(text)?.[1];
    if (status !== undefined) end({ outcome: "status", status: Number(status) });
    else if (text.length > MAX_STATUS_LINE || text.includes("\n"))
      end({ outcome: "failed", reason: "the answer is not HTTP/1" });
  });
  // An error may follow the end of a probe: a socket without a listener would throw it.
  socket.on("error", (error) => end({ outcome: "failed", reason: error.message }));
  socket.once("close", () => end({ outcome: "failed", reason: "closed without an answer" }));
  return {
    abort() {
      isOver = true;
      clearTimeout(timer);
      socket.destroy();
    },
  };
}

function open(target: Target, checks: ActiveChecks, context: SecureContext | null): Socket {
  const { address: host, port, hostHeader } = target;
  if (checks.type !== "https") return connect({ host, port });
  const name = hostHeader.replace(/:\d+$/, "");
  const options: ConnectionOptions = {
    ...(context !== null && { secureContext: context }),
    host,
    port,
    rejectUnauthorized: checks.https_verify_certificate,
    ALPNProtocols: ["http/1.1"],
  };
  if (isIP(name) === 0) options.servername = name;
  return connectTls(options);
}

/** The request of a probe over HTTP, made once per target. Lines that would break it are left out. */
export function probeRequest(target: Target, checks: ActiveChecks): Buffer | null {
  if (checks.type === "tcp" || checks.type === "grpc") return null;
  const fields = (checks.req_headers ?? []).filter((field) => /^[^\s:]+:[^\r\n\0]*$/.test(field));
  const names = new Set(fields.map((field) => field.slice(0, field.indexOf(":")).toLowerCase()));
  const body = Buffer.from(checks.http_req_body);
  if (!names.has("host")) fields.push(`Host: ${hostField(target.hostHeader)}`);
  if (!names.has("user-agent")) fields.push("User-Agent: cardea");
  if (!names.has("content-length") && body.length > 0) fields.push(`Content-Length: ${body.length}`);
  if (!names.has("connection")) fields.push("Connection: close");
  // oxlint-disable-next-line no-control-regex -- what would end the request line is exactly what is meant
  const path = checks.http_path.replaceAll(/[\u0000- \u007f]/g, (char) => encodeURIComponent(char));
  const head = `${checks.http_method} ${path === "" ? "/" : path} HTTP/1.1\r\n${fields.join("\r\n")}\r\n\r\n`;
  return Buffer.concat([Buffer.from(head), body]);
}

/** IPv6 stands in brackets. */
export function hostField(host: string): string {
  return isIP(host) === 6 ? `[${host}]` : host.replaceAll(/[\r\n\s]/g, "");
}
