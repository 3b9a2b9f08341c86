/** Discovery in Eureka against a server that answers as Eureka does. */

import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import type { EurekaDiscoveryConfig } from "../../config/discovery.ts";
import { EurekaSource } from "./eureka.ts";
import { FindingsKit, need } from "./findings-kit.ts";
import { RegistryKit, type RegistryMode } from "./registry-kit.ts";
import { freePort } from "../../../test/ports/free-port.ts";

function instance(ip: string, port: number, more: object = {}): object {
  return {
    instanceId: `${ip}:${port}`,
    app: "WEB",
    ipAddr: ip,
    status: "UP",
    overriddenstatus: "UNKNOWN",
    port: { $: port, "@enabled": "true" },
    securePort: { $: 443, "@enabled": "false" },
    metadata: { "management.port": "9" },
    ...more,
  };
}

function applications(...instances: object[]): object {
  return { applications: { versions__delta: "1", application: [{ name: "WEB", instance: instances }] } };
}

function configOf(...hosts: string[]): EurekaDiscoveryConfig {
  const timeouts = { connectMs: 60_000, readMs: 60_000 };
  return { hosts, prefix: "/eureka", intervalMs: 60_000, weight: 100, timeouts, sendMs: 60_000 };
}

async function bench(
  t: TestContext,
  credentials = "",
): Promise<{ eureka: RegistryKit; findings: FindingsKit; source: EurekaSource; host: string }> {
  const eureka = new RegistryKit();
  const host = await eureka.listen();
  const findings = new FindingsKit();
  const source = new EurekaSource(configOf(`http://${credentials}${host}`), findings);
  t.after(() => {
    source.close();
    eureka.stop();
  });
  return { eureka, findings, source, host };
}

test("instances that are UP are nodes, with the port that is enabled and the weight of their metadata", async (t) => {
  const { eureka, findings, source } = await bench(t);
  eureka.answer = () =>
    applications(
      instance("10.0.0.1", 8001),
      instance("10.0.0.2", 8002, { metadata: { weight: "7", zone: "a" } }),
      instance("10.0.0.3", 8003, { securePort: { $: 8443, "@enabled": true } }),
      instance("10.0.0.4", 8004, { status: "DOWN" }),
      instance("10.0.0.5", 8005, { overriddenstatus: "OUT_OF_SERVICE" }),
      instance("10.0.0.6", 8006, { status: "STARTING", overriddenStatus: "UP", overriddenstatus: undefined }),
      instance("10.0.0.7", 8007, { port: { $: 8007, "@enabled": "false" } }),
    );
  source.watch([need("eureka", "WEB"), need("eureka", "NONE")]);
  await findings.until(() => findings.answers.size === 2);
  assert.equal(
    findings.places("eureka:WEB"),
    "10.0.0.1:8001 100/0, 10.0.0.2:8002 7/0, 10.0.0.3:8443 100/0, 10.0.0.6:8006 100/0",
  );
  assert.deepEqual(findings.answers.get("eureka:WEB")![1].metadata, { zone: "a" });
  assert.equal(findings.places("eureka:NONE"), "");
  assert.deepEqual(
    eureka.asked.map(({ pathname }) => pathname),
    ["/eureka/apps"],
  );
});

test("a weight that is none does not take an instance out", async (t) => {
  const { eureka, findings, source } = await bench(t);
  const weights = ["heavy", "", null, -1, {}, "1e999"];
  eureka.answer = () =>
    applications(...weights.map((weight, i) => instance(`10.0.0.${i}`, 80, { metadata: { weight } })));
  source.watch([need("eureka", "WEB")]);
  await findings.until(() => findings.answers.size === 1);
  assert.deepEqual(
    findings.answers.get("eureka:WEB")!.map(({ weight }) => weight),
    weights.map(() => 100),
  );
});

test("what was said once is not said anew because another service is needed", async (t) => {
  const { eureka, findings, source } = await bench(t);
  eureka.answer = () => applications(instance("10.0.0.1", 80));
  const web = need("eureka", "WEB");
  source.watch([web]);
  await findings.until(() => findings.answers.size === 1);
  eureka.mode = "500";
  await source.refresh();
  findings.answers.clear();
  // An answer would say that Eureka is well.
  source.watch([web, need("eureka", "SHOP")]);
  assert.deepEqual([...findings.answers.keys()], ["eureka:SHOP"]);
});

test("lists of one may come as the one", async (t) => {
  const { eureka, findings, source } = await bench(t);
  eureka.answer = () => ({
    applications: { application: { name: "WEB", instance: instance("10.0.0.1", 80) } },
  });
  source.watch([need("eureka", "WEB")]);
  await findings.until(() => findings.answers.size === 1);
  assert.equal(findings.places("eureka:WEB"), "10.0.0.1:80 100/0");
});

test("user and password of the host are sent", async (t) => {
  const { eureka, findings, source } = await bench(t, "jack:p%40ss@");
  let sent: string | undefined;
  eureka.answer = (_url, { headers }) => {
    sent = headers.authorization;
    return applications();
  };
  source.watch([need("eureka", "WEB")]);
  await findings.until(() => findings.answers.size === 1);
  assert.equal(sent, `Basic ${Buffer.from("jack:p@ss").toString("base64")}`);
});

for (const mode of ["500", "garbage", "truncated"] satisfies RegistryMode[]) {
  test(`an answer that is ${mode} is a failure and no answer, and tells nothing secret`, async (t) => {
    const { eureka, findings, source } = await bench(t, "jack:secret@");
    eureka.mode = mode;
    source.watch([need("eureka", "WEB")]);
    await findings.until(() => findings.failures.length === 1);
    assert.equal(findings.places("eureka:WEB"), undefined);
    assert.ok(!findings.failures[0].includes("secret"), findings.failures[0]);
    eureka.mode = "well";
    eureka.answer = () => applications(instance("10.0.0.1", 80));
    await source.refresh();
    assert.equal(findings.places("eureka:WEB"), "10.0.0.1:80 100/0");
  });
}

test("JSON that is not Eureka's is a failure", async (t) => {
  const { eureka, findings, source } = await bench(t);
  eureka.answer = () => ({ timestamp: "now", status: 404 });
  source.watch([need("eureka", "WEB")]);
  await findings.until(() => findings.failures.length === 1);
  assert.match(findings.failures[0], /without applications/);
});

test("of several servers one is asked, and the others when it does not answer", async (t) => {
  const { eureka, findings, host } = await bench(t);
  const deadHost = `127.0.0.1:${await freePort()}`;
  eureka.answer = () => applications(instance("10.0.0.1", 80));
  const source = new EurekaSource(configOf(`http://${deadHost}`, `http://${host}`), findings);
  t.after(() => source.close());
  source.watch([need("eureka", "WEB")]);
  for (let i = 0; i < 10; i++) await source.refresh();
  assert.deepEqual([findings.places("eureka:WEB"), findings.failures], ["10.0.0.1:80 100/0", []]);
});
