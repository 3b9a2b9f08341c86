/**
 * Origins that are programs of Debian: nginx, haproxy and apache2, each with a configuration of its own in a
 * temporary folder, and Node.js. Each writes one line "METHOD TARGET STATUS" for every request that it has
 * understood (or refused), which is what the gateway's count is compared with.
 */

import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { chmodSync, existsSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { connect, type AddressInfo, type Socket } from "node:net";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { temporaryFolder } from "./real-node.ts";
import { freePort } from "../ports/free-port.ts";

export interface CountingOrigin {
  address: string;
  lines(): string[];
}

export interface OriginKind {
  name: string;
  /** Why it cannot run here, or false. */
  skip: string | false;
  start(t: TestContext): Promise<CountingOrigin>;
}

export const ORIGIN_KINDS: readonly OriginKind[] = [
  { name: "node", skip: false, start: startNode },
  {
    name: "nginx",
    skip: missing("nginx"),
    start: (t) =>
      startProgram(t, (folder, port) => {
        writeFileSync(join(folder, "nginx.conf"), nginxConfig(folder, port));
        return ["nginx", "-p", folder, "-e", join(folder, "error.log"), "-c", join(folder, "nginx.conf")];
      }),
  },
  {
    name: "haproxy",
    skip: missing("haproxy"),
    start: (t) =>
      startProgram(
        t,
        (folder, port) => {
          writeFileSync(join(folder, "haproxy.cfg"), haproxyConfig(port));
          return ["haproxy", "-db", "-f", join(folder, "haproxy.cfg")];
        },
        true,
      ),
  },
  {
    name: "apache2",
    skip: missing("apache2"),
    start: (t) =>
      startProgram(t, (folder, port) => {
        writeFileSync(join(folder, "apache.conf"), apacheConfig(folder, port));
        return ["apache2", "-X", "-d", folder, "-f", join(folder, "apache.conf")];
      }),
  },
];

function missing(program: string): string | false {
  return spawnSync("which", [program]).status === 0 ? false : `${program} is not installed`;
}

async function startNode(t: TestContext): Promise<CountingOrigin> {
  const lines: string[] = [];
  const server = createServer((request, response) => {
    lines.push(`${request.method} ${request.url} 200`);
    request.resume();
    request.on("end", () => response.end("node"));
  });
  server.on("checkExpectation", (request, response) => {
    lines.push(`${request.method} ${request.url} 417`);
    response.writeHead(417).end();
  });
  server.on("clientError", (_error, socket) => {
    lines.push("BROKEN - 400");
    (socket as Socket).end("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    server.close();
    server.closeAllConnections();
  });
  return { address: `127.0.0.1:${(server.address() as AddressInfo).port}`, lines: () => lines };
}

/** Starts it in the foreground and waits until it accepts; its lines are in "requests.log" or on its output. */
async function startProgram(
  t: TestContext,
  prepare: (folder: string, port: number) => string[],
  linesOnOutput = false,
): Promise<CountingOrigin> {
  const folder = temporaryFolder(t);
  // Programs that change their user must reach their files.
  chmodSync(folder, 0o777);
  const port = await freePort();
  const [program, ...args] = prepare(folder, port);
  const child = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  let errors = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => (output += text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => (errors += text));
  const ended = once(child, "exit");
  t.after(async () => {
    child.kill("SIGTERM");
    await ended;
  });
  await accepts(port, () => {
    if (child.exitCode === null) return;
    const log = join(folder, "error.log");
    throw new Error(`${program} ended: ${errors} ${existsSync(log) ? readFileSync(log, "utf8") : ""}`);
  });
  const read = () => (linesOnOutput ? output : readFileSync(join(folder, "requests.log"), "utf8"));
  return {
    address: `127.0.0.1:${port}`,
    lines: () =>
      read()
        .split("\n")
        .filter((line) => line !== ""),
  };
}

/** Tries until something listens there; `check` throws when that will never be. */
async function accepts(port: number, check: () => void): Promise<void> {
  for (;;) {
    const socket = connect(port, "127.0.0.1");
    const isThere = await new Promise<boolean>((resolve) => {
      socket.once("connect", () => resolve(true)).once("error", () => resolve(false));
    });
    socket.destroy();
    if (isThere) return;
    check();
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

function nginxConfig(folder: string, port: number): string {
  return `daemon off; worker_processes 1; pid ${folder}/nginx.pid;
events { worker_connections 256; }
http {
  log_format line '$request_method $request_uri $status';
  access_log ${folder}/requests.log line;
  client_body_temp_path ${folder}; proxy_temp_path ${folder}; fastcgi_temp_path ${folder};
  uwsgi_temp_path ${folder}; scgi_temp_path ${folder};
  large_client_header_buffers 4 64k; keepalive_requests 100000;
  server { listen 127.0.0.1:${port}; location / { return 200 "nginx"; } }
}
`;
}

function haproxyConfig(port: number): string {
  return `global
  log stdout format raw local0
  tune.bufsize 65536
defaults
  mode http
  log global
  option dontlognull
  log-format "%HM %HU %ST"
  timeout client 30s
  timeout server 30s
  timeout connect 5s
  timeout http-keep-alive 30s
frontend all
  bind 127.0.0.1:${port}
  http-request return status 200 content-type text/plain string haproxy
`;
}

function apacheConfig(folder: string, port: number): string {
  const modules = ["mpm_event", "authz_core", "log_config", "alias"];
  // What is built in has no file.
  const lines = modules
    .filter((name) => existsSync(`/usr/lib/apache2/modules/mod_${name}.so`))
    .map((name) => `LoadModule ${name}_module /usr/lib/apache2/modules/mod_${name}.so`);
  return `${lines.join("\n")}
Listen 127.0.0.1:${port}
ServerName origin
PidFile ${folder}/apache.pid
Mutex posixsem
ErrorLog ${folder}/error.log
LogFormat "%m %U%q %>s" line
CustomLog ${folder}/requests.log line
DocumentRoot ${folder}
LimitRequestFieldSize 65536
LimitRequestLine 65536
KeepAlive On
MaxKeepAliveRequests 0
KeepAliveTimeout 30
TraceEnable Off
ErrorDocument 404 "apache"
`;
}
