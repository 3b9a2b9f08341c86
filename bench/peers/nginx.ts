/**
 * nginx twice: as the origin behind every gateway, and as the gateway that the others are compared with.
 *
 * Both keep connections for ever, as Cardea is told to, so that what is compared is the request.
 */

import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Pair } from "../certificate.ts";
import type { OtherUpstream } from "../routes.ts";
import type { Processes } from "../processes.ts";
import { portOpens, untilReady } from "./peer.ts";
import type { Peer } from "./peer.ts";
import { freePort } from "../../test/ports/free-port.ts";

const START_TIMEOUT_MS = 10_000;
const FOREVER = "keepalive_requests 1000000000; keepalive_timeout 3600s;";
/** Where the origin listens: as many nodes of an upstream as there are addresses. */
export const ORIGIN_ADDRESSES: readonly string[] = Array.from({ length: 20 }, (_, i) => `127.0.0.${i + 1}`);
/** The fields of Cardea's default format. */
const LOG_FORMAT =
  `log_format bench '$remote_addr - $remote_user [$time_local] $http_host "$request" $status $body_bytes_sent ` +
  `$request_time "$http_referer" "$http_user_agent" $upstream_addr $upstream_status $upstream_response_time ` +
  `"$scheme://$host$request_uri" "$request_id"';`;

export interface NginxOptions {
  nginx: string;
  folder: string;
  cores: string;
}

/**
 * Answers every request with 1 KiB, and `/100k` with 100 KiB. `/post` reads the whole body before it answers,
 * which takes a detour in nginx: an answer that overtakes the body would end the gateway's connection.
 */
export async function startOrigin(processes: Processes, options: NginxOptions): Promise<Peer> {
  mkdirSync(join(options.folder, "www"), { recursive: true });
  writeFileSync(join(options.folder, "www", "100k"), "b".repeat(100 * 1024));
  return start(processes, options, "origin", 2, (port) => [
    "access_log off;",
    `upstream self { server 127.0.0.1:${port}; keepalive 320; ${FOREVER} }`,
    `server { ${ORIGIN_ADDRESSES.map((address) => `listen ${address}:${port} backlog=4096;`).join(" ")} root ${options.folder}/www; default_type text/plain;`,
    `client_max_body_size 0; client_body_buffer_size 256k;`,
    `location = /post { proxy_pass http://self/; proxy_http_version 1.1; proxy_set_header Connection "";`,
    `proxy_method GET; proxy_pass_request_body off; proxy_set_header Content-Length ""; }`,
    `location = /100k { open_file_cache max=10; open_file_cache_valid 3600s; }`,
    `location / { return 200 "${"a".repeat(1024)}"; } }`,
  ]);
}

export interface NginxProxyOptions extends NginxOptions {
  originPort: number;
  accessLog: boolean;
  /** Speaks TLS with this pair. */
  pair?: Pair;
  /** Speaks HTTP/2 only. */
  http2?: boolean;
  other?: OtherUpstream;
}

/**
 * Passes everything on to the origin over kept connections. Bodies flow in both directions without a detour
 * over files, as they do in Cardea: nginx's defaults would write large ones to the disk.
 */
export async function startNginxProxy(processes: Processes, options: NginxProxyOptions): Promise<Peer> {
  const { accessLog, originPort, folder, pair, http2 = false, other } = options;
  const kind = `${pair === undefined ? "" : "ssl "}${http2 ? "http2 " : ""}`;
  mkdirSync(folder, { recursive: true });
  if (pair !== undefined) {
    writeFileSync(`${folder}/cert.pem`, pair.cert);
    writeFileSync(`${folder}/key.pem`, pair.key);
  }
  const tls =
    pair === undefined
      ? ""
      : `ssl_certificate ${folder}/cert.pem; ssl_certificate_key ${folder}/key.pem; ssl_session_tickets off; ssl_protocols TLSv1.2 TLSv1.3;`;
  const peer = await start(processes, options, "nginx", 1, (port) => [
    LOG_FORMAT,
    accessLog ? `access_log ${folder}/access.log bench buffer=16k;` : "access_log off;",
    `upstream origin { server 127.0.0.1:${originPort}; keepalive 320; ${FOREVER} }`,
    `server { listen 127.0.0.1:${port} ${kind}backlog=4096; ${tls} client_max_body_size 0;`,
    "proxy_request_buffering off; proxy_buffers 16 16k; proxy_max_temp_file_size 0;",
    `proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $http_host;`,
    `proxy_set_header X-Real-IP $remote_addr; proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;`,
    `proxy_set_header X-Forwarded-Proto $scheme; proxy_set_header X-Forwarded-Host $host;`,
    `proxy_set_header X-Forwarded-Port $server_port;`,
    ...(other === undefined ? [] : otherLocations(other)),
    "location / { proxy_pass http://origin; } }",
  ]);
  return { ...peer, isSecure: pair !== undefined };
}

function otherLocations({ port, paths, timeoutSeconds }: OtherUpstream): string[] {
  const timeouts = ["connect", "send", "read"]
    .map((of) => `proxy_${of}_timeout ${timeoutSeconds}s;`)
    .join(" ");
  return paths.map((path) => `location = ${path} { ${timeouts} proxy_pass http://127.0.0.1:${port}; }`);
}

/** Where Debian puts it; where it is not, nginx has it built in, or says that it does not know `stream`. */
const STREAM_MODULE = "/usr/lib/nginx/modules/ngx_stream_module.so";

/** Passes bytes on to the origin: a connection to it for each from a client. */
export async function startNginxStream(
  processes: Processes,
  options: NginxOptions & { originPort: number },
): Promise<Peer> {
  const { originPort, folder } = options;
  mkdirSync(folder, { recursive: true });
  return startWith(processes, options, "nginx", 1, (port) => [
    `stream { server { listen 127.0.0.1:${port} backlog=4096; proxy_pass 127.0.0.1:${originPort}; tcp_nodelay on; } }`,
  ]);
}

async function start(
  processes: Processes,
  options: NginxOptions,
  name: string,
  workers: number,
  http: (port: number) => string[],
): Promise<Peer> {
  const { folder } = options;
  const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
    .map((kind) => `${kind}_temp_path ${folder}/${kind};`)
    .join(" ");
  return startWith(processes, options, name, workers, (port) => [
    `http { ${temporary} ${FOREVER} tcp_nodelay on;`,
    ...http(port),
    "}",
  ]);
}

async function startWith(
  processes: Processes,
  { nginx, folder, cores }: NginxOptions,
  name: string,
  workers: number,
  body: (port: number) => string[],
): Promise<Peer> {
  const port = await freePort();
  const text = [
    existsSync(STREAM_MODULE) ? `load_module ${STREAM_MODULE};` : "",
    process.getuid?.() === 0 ? "user root;" : "",
    `daemon off; worker_processes ${workers}; pid ${folder}/nginx.pid; error_log ${folder}/error.log;`,
    `worker_rlimit_nofile 16384; events { worker_connections 8192; }`,
    ...body(port),
  ].join("\n");
  const file = join(folder, "nginx.conf");
  const logFile = join(folder, "output.log");
  writeFileSync(file, text);
  const child = processes.start(nginx, ["-c", file, "-p", folder, "-e", join(folder, "error.log")], {
    cores,
    logFile,
  });
  await untilReady(child, START_TIMEOUT_MS, logFile, () => portOpens(port));
  return { name, process: child, port };
}
