import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { parseStaticConfig } from "../../src/config/load.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const DEATHS = 3;

interface LogLine {
  message: string;
  thread?: string;
  listeners?: string[];
}

/** A whole node with the real control and workers. */
class WholeNode {
  readonly folder = mkdtempSync(join(tmpdir(), "cardea-death-"));
  readonly #process: ChildProcess;
  readonly #lines: LogLine[] = [];
  #wake: () => void = () => {};

  constructor() {
    const { config } = parseStaticConfig("(test)", "", {});
    config.workers = 2;
    config.groups = [{ name: "default", workers: 2 }];
    const anywhere = { address: "127.0.0.1", port: 0, proxyProtocol: false, group: "default" };
    const purposes = ["http", "admin", "control", "status", "metrics"] as const;
    config.listeners = [];
    for (const purpose of purposes) config.listeners.push({ purpose, ...anywhere });
    config.supervision = { heartbeatMs: 50, staleAfterMs: 3000, drainTimeoutMs: 5000, workerHeapMb: 64 };
    config.accessLog.path = null;
    const control = fileURLToPath(new URL("mortal-control.ts", import.meta.url));
    const parts = join(this.folder, "parts.json");
    writeFileSync(parts, JSON.stringify({ config, control }));
    const env = { ...process.env, CARDEA_TEST_PARTS: parts, CARDEA_DATA: this.folder };
    delete (env as NodeJS.ProcessEnv)["NODE_TEST_CONTEXT"];
    const args = [join(ROOT, "bin/cardea"), "start"];
    this.#process = spawn(process.execPath, args, { cwd: ROOT, env, stdio: ["ignore", "pipe", "inherit"] });
    createInterface({ input: this.#process.stdout! }).on("line", (line) => {
      if (line.startsWith("{")) this.#lines.push(JSON.parse(line) as LogLine);
      this.#wake();
    });
  }

  async logged(holds: (line: LogLine) => boolean, count = 1): Promise<LogLine> {
    for (;;) {
      const found = this.#lines.filter(holds)[count - 1];
      if (found !== undefined) return found;
      if (this.#process.exitCode !== null) throw new Error(JSON.stringify(this.#lines));
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#wake = resolve;
      await promise;
    }
  }

  async urlOf(purpose: string): Promise<string> {
    const line = await this.logged((each) => each.message === "the node serves");
    const place = line.listeners!.find((each) => each.startsWith(`${purpose} `))!;
    return `http://127.0.0.1:${place.slice(place.lastIndexOf(":") + 1)}`;
  }

  async controlServes(count: number): Promise<void> {
    await this.logged((line) => line.message === "a thread serves" && line.thread === "control", count);
  }

  /** The next death of control. */
  die(): void {
    writeFileSync(join(this.folder, "die"), "");
  }

  async end(): Promise<void> {
    this.#process.kill("SIGTERM");
    if (this.#process.exitCode === null) await once(this.#process, "exit");
    rmSync(this.folder, { recursive: true, force: true, maxRetries: 5 });
  }
}

test("P4: control dies again and again: no acknowledged write is lost, no request of a client fails", async () => {
  const origin = createServer((_request, response) => response.end("origin")).listen(0, "127.0.0.1");
  await once(origin, "listening");
  const node = new WholeNode();
  let isOver = false;
  try {
    const [admin, data, status] = [
      await node.urlOf("admin"),
      await node.urlOf("http"),
      await node.urlOf("status"),
    ];
    const headers = { "x-api-key": readFileSync(join(node.folder, "admin.key"), "utf8").trim() };
    const nodes = { [`127.0.0.1:${(origin.address() as AddressInfo).port}`]: 1 };
    const put = async (id: string, query = "") => {
      const body = JSON.stringify({ uri: `/${id}`, upstream: { nodes } });
      return await fetch(`${admin}/apisix/admin/routes/${id}${query}`, { method: "PUT", headers, body });
    };
    assert.equal((await put("first", "?wait=live")).status, 201);

    const acknowledged: string[] = [];
    let progress: () => void = () => {};
    const writing = (async () => {
      for (let i = 0; !isOver; i++) {
        // While control is dead a write fails or is cut off; it then counts for nothing.
        const reply = await put(`w${i}`).catch(() => null);
        if (reply?.ok === true) acknowledged.push(`w${i}`);
        progress();
      }
    })();
    let requests = 0;
    const asking = (async () => {
      for (; !isOver; requests++) {
        const reply = await fetch(`${data}/first`);
        assert.deepEqual([reply.status, await reply.text()], [200, "origin"]);
      }
    })();

    for (let death = 1; death <= DEATHS; death++) {
      const before = acknowledged.length;
      while (acknowledged.length < before + 5) {
        await new Promise<void>((resolve) => {
          progress = resolve;
        });
      }
      node.die();
      await node.controlServes(death + 1);
    }
    isOver = true;
    await Promise.all([writing, asking]);

    assert.ok(acknowledged.length >= 5 * DEATHS && requests > 0);
    assert.equal((await put("last", "?wait=live")).status, 201);
    for (const id of [...acknowledged, "last"]) {
      assert.equal(
        (await fetch(`${admin}/apisix/admin/routes/${id}`, { headers })).status,
        200,
        `${id} is lost`,
      );
      assert.equal((await fetch(`${data}/${id}`)).status, 200, `${id} is not served`);
    }
    assert.equal((await fetch(`${status}/status/ready`)).status, 200);
  } finally {
    isOver = true;
    await node.end();
    origin.close();
    origin.closeAllConnections();
  }
});
