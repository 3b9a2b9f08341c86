/** A whole node before an nginx that asks for client certificates: what the Admin API is told reaches every worker. */

import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync, readdirSync, statSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { setTimeout } from "node:timers/promises";
import { RealNode, temporaryFolder } from "../promises/real-node.ts";
import { Authority, hasOpenssl, type Pair } from "./certificate-authority.ts";
import { freePort } from "../ports/free-port.ts";

const hasNginx = spawnSync("nginx", ["-v"]).status === 0;
const options = { skip: hasOpenssl && hasNginx ? false : "there is no openssl or no nginx" };

/** An nginx that answers with the subject of the client, the server name, and whether the session was resumed. */
async function nginx(t: TestContext, authority: Authority, pair: Pair): Promise<number> {
  const folder = temporaryFolder(t);
  const port = await freePort();
  writeFileSync(join(folder, "ca.pem"), authority.pair.cert);
  writeFileSync(join(folder, "cert.pem"), pair.cert);
  writeFileSync(join(folder, "cert.key"), pair.key);
  writeFileSync(
    join(folder, "nginx.conf"),
    `daemon off; master_process off; pid ${folder}/nginx.pid;
events { worker_connections 256; }
http {
  access_log off; client_body_temp_path ${folder}; proxy_temp_path ${folder}; fastcgi_temp_path ${folder};
  uwsgi_temp_path ${folder}; scgi_temp_path ${folder};
  server {
    listen 127.0.0.1:${port} ssl;
    ssl_certificate cert.pem; ssl_certificate_key cert.key; ssl_client_certificate ca.pem; ssl_verify_client on;
    ssl_session_cache shared:a:1m; keepalive_requests 1;
    location / { return 200 "$ssl_client_s_dn $ssl_server_name $ssl_session_reused"; }
  }
}
`,
  );
  const args = ["-p", folder, "-e", join(folder, "error.log"), "-c", join(folder, "nginx.conf")];
  const child = spawn("nginx", args, { stdio: "ignore" });
  t.after(async () => {
    const ended = once(child, "exit");
    child.kill("SIGKILL");
    await ended;
  });
  while (!(await answers(port))) {
    assert.equal(child.exitCode, null, "nginx ended");
    await setTimeout(20);
  }
  return port;
}

async function answers(port: number): Promise<boolean> {
  const socket = connect(port, "127.0.0.1");
  try {
    await once(socket, "connect");
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}

function textOf(folder: string): string {
  const files = readdirSync(folder, { recursive: true, encoding: "utf8" }).map((name) => join(folder, name));
  return files
    .filter((file) => existsSync(file) && statSync(file).isFile())
    .map((file) => readFileSync(file, "latin1"))
    .join("\n");
}

test(
  "client certificates, inline and by id, get requests past an nginx that asks for them",
  options,
  async (t) => {
    const authority = Authority.make(t);
    const port = await nginx(t, authority, authority.issue({ names: ["a.com"] }));
    const trusted = join(authority.folder, "ca.pem");
    const node = await RealNode.start(t, {
      change: (config) => {
        config.tls.upstreamAuthorities = [trusted];
      },
    });
    const upstream = {
      scheme: "https",
      type: "roundrobin",
      nodes: { [`127.0.0.1:${port}`]: 1 },
      pass_host: "rewrite",
      upstream_host: "a.com",
    };
    const inline = authority.issue({ names: ["inline"] });
    const byId = authority.issue({ names: ["by-id"] });
    await node.put("/routes/bare", { uri: "/bare", upstream: { ...upstream, tls: { verify: true } } });
    await node.put("/routes/inline", {
      uri: "/inline",
      upstream: { ...upstream, tls: { verify: true, client_cert: inline.cert, client_key: inline.key } },
    });
    await node.put("/ssls/7", { type: "client", ...byId });
    await node.put("/upstreams/u", { ...upstream, tls: { verify: true, client_cert_id: "7" } });
    await node.put("/routes/id", { uri: "/id", upstream_id: "u" });

    assert.equal((await node.get("/bare")).status, 400, "nginx says over HTTP that it wants a certificate");
    assert.match((await node.get("/inline")).text, /^CN=inline,O=Cardea a\.com [.r]$/);
    const told: string[] = [];
    for (let i = 0; i < 8; i++) told.push((await node.get("/id")).text);
    for (const text of told) assert.match(text, /^CN=by-id,O=Cardea a\.com [.r]$/);
    assert.ok(
      told.some((text) => text.endsWith(" r")),
      "sessions are resumed",
    );
    await node.put("/ssls/7", { type: "client", ...authority.issue({ names: ["changed"] }) });
    for (let i = 0; i < 4; i++) assert.match((await node.get("/id")).text, /^CN=changed,/);
    assert.equal((await node.admin("DELETE", "/ssls/7")).status, 400, "it is in use");

    const secrets = [inline.key, byId.key].map((key) => key.split("\n")[2]);
    const shown = JSON.stringify([
      (await node.admin("GET", "/routes/inline")).text,
      (await node.admin("GET", "/ssls/7")).text,
      node.lines,
    ]);
    const kept = textOf(node.folder);
    for (const secret of secrets) {
      assert.ok(!kept.includes(secret), "no key stands in the data folder");
      assert.ok(!shown.includes(secret), "no key is shown or logged");
    }
  },
);
