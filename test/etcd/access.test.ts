/** Users, certificates and permissions of a real etcd. */

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { StoreUnavailableError } from "../../src/store/contract.ts";
import { EtcdCluster, WITHOUT_ETCD } from "./members.ts";
import { Mirror, openStore, storeOptions } from "./stores.ts";
import { processFolder } from "../folders/process-folder.ts";

const put = (key: string, value = "{}") => [{ type: "put", key, value } as const];

/** Two authorities, each with a certificate for 127.0.0.1 and etcd.internal that serves both sides. */
function certificates(): (name: string) => string {
  const folder = processFolder("cardea-certificates-");
  const file = (name: string) => join(folder, name);
  const openssl = (...args: string[]) => execFileSync("openssl", args, { cwd: folder, stdio: "ignore" });
  writeFileSync(file("extensions"), "subjectAltName=IP:127.0.0.1,DNS:etcd.internal");
  for (const name of ["ours", "others"]) {
    const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
    openssl(
      "req",
      "-x509",
      ...key,
      "-keyout",
      `${name}-ca.key`,
      "-out",
      `${name}-ca.pem`,
      "-subj",
      `/CN=${name}`,
    );
    openssl("req", ...key, "-keyout", `${name}.key`, "-out", `${name}.csr`, "-subj", "/CN=root");
    const authority = ["-CA", `${name}-ca.pem`, "-CAkey", `${name}-ca.key`, "-CAcreateserial"];
    openssl(
      "x509",
      "-req",
      "-in",
      `${name}.csr`,
      ...authority,
      "-out",
      `${name}.pem`,
      "-extfile",
      "extensions",
    );
  }
  return file;
}

describe("a store over etcd", { skip: WITHOUT_ETCD }, () => {
  test("speaks TLS with certificates on both sides, and trusts nobody else", async (t) => {
    const file = certificates();
    const flags = [
      ["--cert-file", file("ours.pem"), "--key-file", file("ours.key")],
      ["--trusted-ca-file", file("ours-ca.pem"), "--client-cert-auth"],
    ].flat();
    const { endpoints } = await EtcdCluster.start(t, { scheme: "https", flags });
    const good = {
      caFile: file("ours-ca.pem"),
      certificateFile: file("ours.pem"),
      keyFile: file("ours.key"),
      serverName: "etcd.internal",
      isVerified: true,
    };
    const store = openStore(t, storeOptions(endpoints, { tls: good }));
    await store.write(put("/routes/1"));
    assert.equal((await store.load()).items.length, 1);

    const refused: Record<string, object> = {
      "another authority": { caFile: file("others-ca.pem") },
      "no certificate of ours": { certificateFile: null, keyFile: null },
      "a certificate of another authority": {
        certificateFile: file("others.pem"),
        keyFile: file("others.key"),
      },
      "another name": { serverName: "elsewhere.internal" },
      "a file that is not there": { caFile: file("missing.pem") },
    };
    for (const [what, change] of Object.entries(refused)) {
      const other = openStore(t, storeOptions(endpoints, { timeoutMs: 2000, tls: { ...good, ...change } }));
      await assert.rejects(other.load(), StoreUnavailableError, what);
    }
    const tls = { ...good, caFile: file("others-ca.pem"), isVerified: false };
    assert.equal((await openStore(t, storeOptions(endpoints, { tls })).load()).items.length, 1);
  });

  test("logs in, again when its token is gone, and keeps no history and no reports where it may not", async (t) => {
    const cluster = await EtcdCluster.start(t);
    const root = ["--user", "root:top"];
    await cluster.ctl("user", "add", "root:top");
    await cluster.ctl("role", "add", "gateway");
    await cluster.ctl("role", "grant-permission", "gateway", "readwrite", "/apisix/", "/apisix0");
    await cluster.ctl("user", "add", "cardea:secret");
    await cluster.ctl("user", "grant-role", "cardea", "gateway");
    await cluster.ctl("auth", "enable");

    const told: string[] = [];
    const log = { info: () => {}, warn: (text: string) => void told.push(text) };
    const user = { name: "cardea", password: "secret" };
    const store = openStore(t, storeOptions(cluster.endpoints, { user, log }));
    const mirror = await Mirror.of(t, store);
    await store.write(put("/routes/1", '{"update_time":1763732271}'));
    assert.deepEqual(told, ["no history is kept: the user of the etcd may not write below /cardea/history"]);

    const { reports } = store;
    await assert.rejects(reports.put("a", "one", 60), StoreUnavailableError);
    await assert.rejects(reports.list(), /permission denied/);

    // A member forgets its tokens when it dies.
    await cluster.killAll();
    await cluster.startAll();
    await cluster.ctl(...root, "put", "/apisix/routes/2", "{}");
    await mirror.until(({ items }) => items.has("/routes/2"));
    await store.write(put("/routes/3"));
    await cluster.ctl(...root, "role", "grant-permission", "gateway", "readwrite", "/cardea/", "/cardea0");
    await store.write(put("/routes/4"));
    await mirror.until(({ items }) => items.size === 4);
    for (const text of ["one", "two"]) await reports.put("a", text, 60);
    await reports.put("b", "three", 60);
    assert.deepEqual(
      [...(await reports.list())],
      [
        ["a", "two"],
        ["b", "three"],
      ],
    );
    assert.deepEqual([await reports.remove("a"), await reports.remove("a")], [true, false]);
    assert.deepEqual([...(await reports.list()).keys()], ["b"]);
    assert.equal(mirror.items.size, 4);

    for (const wrong of [
      null,
      { name: "cardea", password: "guess" },
      { name: "nobody", password: "secret" },
    ]) {
      const other = openStore(t, storeOptions(cluster.endpoints, { user: wrong, timeoutMs: 2000 }));
      await assert.rejects(other.load(), StoreUnavailableError);
      assert.ok(!other.contact().isReachable);
    }
  });

  test("needs no user where the etcd has none", async (t) => {
    const { endpoints } = await EtcdCluster.start(t);
    const store = openStore(t, storeOptions(endpoints, { user: { name: "cardea", password: "secret" } }));
    await store.write(put("/routes/1"));
    assert.equal((await store.load()).items.length, 1);
  });
});
