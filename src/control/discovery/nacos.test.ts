/** Discovery in Nacos against a server that answers as Nacos does. */

import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { test, type TestContext } from "node:test";
import type { NacosDiscoveryConfig } from "../../config/discovery.ts";
import { FindingsKit, need } from "./findings-kit.ts";
import { NacosSource } from "./nacos.ts";
import { RegistryKit } from "./registry-kit.ts";

const PUBLIC = { namespaceId: "public", groupName: "DEFAULT_GROUP" };

function host(ip: string, port: number, more: object = {}): object {
  return { ip, port, weight: 1, healthy: true, enabled: true, ephemeral: true, metadata: {}, ...more };
}

async function bench(
  t: TestContext,
  more: Partial<NacosDiscoveryConfig> = {},
  credentials = "",
): Promise<{ nacos: RegistryKit; findings: FindingsKit; source: NacosSource }> {
  const nacos = new RegistryKit();
  const config: NacosDiscoveryConfig = {
    hosts: [`http://${credentials}${await nacos.listen()}`],
    prefix: "/nacos/v1/",
    intervalMs: 60_000,
    weight: 100,
    timeouts: { connectMs: 60_000, readMs: 60_000 },
    sendMs: 60_000,
    accessKey: "",
    secretKey: "",
    ...more,
  };
  const findings = new FindingsKit();
  const source = new NacosSource(config, findings, () => 1_700_000_000_000);
  t.after(() => {
    source.close();
    nacos.stop();
  });
  return { nacos, findings, source };
}

test("healthy and enabled instances are nodes, by namespace and group; gRPC has a port of its own", async (t) => {
  const { nacos, findings, source } = await bench(t);
  nacos.answer = ({ pathname, searchParams: query }) => {
    assert.equal(pathname, "/nacos/v1/ns/instance/list");
    assert.deepEqual([query.get("healthyOnly"), query.get("serviceName")], ["true", "web"]);
    if (query.get("namespaceId") === "test") return { hosts: [host("10.1.0.1", 80)] };
    assert.deepEqual([query.get("namespaceId"), query.get("groupName")], ["public", "DEFAULT_GROUP"]);
    const grpc = { metadata: { gRPC_port: "9001" } };
    return {
      hosts: [
        host("10.0.0.1", 8001, grpc),
        host("10.0.0.2", 8002, { weight: 3 }),
        host("10.0.0.3", 8003, { enabled: false }),
        host("10.0.0.4", 8004, { healthy: false }),
        host("10.0.0.5", 8005, { weight: undefined }),
      ],
    };
  };
  source.watch([
    need("nacos", "web", PUBLIC),
    need("nacos", "web", { key: "grpc", ...PUBLIC, isGrpc: true }),
    need("nacos", "web", { key: "test", namespaceId: "test", groupName: "G" }),
  ]);
  await findings.until(() => findings.answers.size === 3);
  assert.equal(findings.places("nacos:web"), "10.0.0.1:8001, 10.0.0.2:8002 3/0, 10.0.0.5:8005 100/0");
  assert.equal(findings.places("grpc"), "10.0.0.1:9001, 10.0.0.2:8002 3/0, 10.0.0.5:8005 100/0");
  assert.equal(findings.places("test"), "10.1.0.1:80");
});

test("with user and password it logs in and shows the token; a login that fails is a failure", async (t) => {
  const { nacos, findings, source } = await bench(t, {}, "jack:secret@");
  let isOpen = true;
  const bodies: string[] = [];
  nacos.answer = ({ pathname, searchParams: query }, request) => {
    if (pathname === "/nacos/v1/auth/login") {
      assert.deepEqual([request.method, [...query]], ["POST", []]);
      request.setEncoding("utf8").on("data", (text: string) => bodies.push(text));
      return isOpen ? { accessToken: "token-1", tokenTtl: 18_000 } : 403;
    }
    return query.get("accessToken") === "token-1" ? { hosts: [host("10.0.0.1", 80)] } : 403;
  };
  source.watch([need("nacos", "web", PUBLIC)]);
  await findings.until(() => findings.answers.size === 1);
  assert.equal(findings.places("nacos:web"), "10.0.0.1:80");
  assert.deepEqual(bodies, ["username=jack&password=secret"]);
  isOpen = false;
  await source.refresh();
  assert.match(findings.failures.join(), /status 403/);
  assert.ok(!findings.failures.join().includes("secret"));
});

test("with an access key questions are signed", async (t) => {
  const { nacos, findings, source } = await bench(t, { accessKey: "ak", secretKey: "sk" });
  source.watch([need("nacos", "web", PUBLIC)]);
  nacos.answer = () => ({ hosts: [] });
  await findings.until(() => findings.answers.size === 1);
  const query = nacos.asked[0].searchParams;
  const data = "1700000000000@@DEFAULT_GROUP@@web";
  const signature = createHmac("sha1", "sk").update(data).digest("base64");
  assert.deepEqual([query.get("ak"), query.get("data"), query.get("signature")], ["ak", data, signature]);
});

test("a service that cannot be read does not hold up the others", async (t) => {
  const { nacos, findings, source } = await bench(t);
  nacos.answer = ({ searchParams: query }) =>
    query.get("serviceName") === "bad" ? 500 : { hosts: [host("10.0.0.1", 80)] };
  source.watch([need("nacos", "bad", PUBLIC), need("nacos", "web", PUBLIC)]);
  await findings.until(() => findings.answers.size === 1 && findings.failures.length === 1);
  assert.equal(findings.places("nacos:web"), "10.0.0.1:80");
  assert.equal(findings.places("nacos:bad"), undefined);
});

test("an answer that no service needs is a failure, and not read to its end", async (t) => {
  const { nacos, findings, source } = await bench(t);
  nacos.answer = () => ({ hosts: [], filler: "x".repeat(17 * 1024 ** 2) });
  source.watch([need("nacos", "web", PUBLIC)]);
  await findings.until(() => findings.failures.length === 1 || findings.answers.size === 1);
  assert.match(findings.failures.join(), /more than 16777216 bytes/);
});

test("an answer without hosts is a failure", async (t) => {
  const { nacos, findings, source } = await bench(t);
  nacos.answer = () => ({ code: 0 });
  source.watch([need("nacos", "web", PUBLIC)]);
  await findings.until(() => findings.failures.length === 1);
  assert.match(findings.failures[0], /without hosts/);
});
