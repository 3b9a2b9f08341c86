import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { HeaderList, type ClientHello, type Exchange, type HelloConnection } from "../../plugin/index.ts";
import { resourceType } from "../../model/resources.ts";
import { validateResource } from "../../model/validate.ts";
import { testGateway } from "../../testing/index.ts";
import { PluginCatalog } from "../catalog.ts";
import tlsFingerprint from "./index.ts";

const JA3 = "e7d705a3286e19ea42f587b344ee6865";
const JA4 = "t13d1516h2_8daaf6152771_e5627efa2ab1";

type Config = Parameters<typeof tlsFingerprint.compile>[0];

function handlersOf(config: Partial<Config>) {
  return tlsFingerprint.compile({ message: "no", ...config }, undefined!);
}

const CASES: [config: Partial<Config>, passes: boolean][] = [
  [{ allow: [JA4] }, true],
  [{ allow: [JA3] }, true],
  [{ allow: ["t13d1516h2*"] }, true],
  [{ allow: ["t13d1517h2*", "0".repeat(32)] }, false],
  [{ deny: [JA4] }, false],
  [{ deny: [JA3] }, false],
  [{ deny: ["t12*"] }, true],
  [{ allow: ["t13*"], deny: ["t13d1516h2_*"] }, false],
];

describe("a client whose fingerprint is", () => {
  for (const [config, passes] of CASES) {
    test(`held against ${JSON.stringify(config)} ${passes ? "passes" : "is refused"}`, () => {
      const handlers = handlersOf(config);
      let isClosed = false;
      const hello = { ja3: JA3, ja4: JA4 } as ClientHello;
      handlers.clientHello!(hello, { close: () => (isClosed = true) } as unknown as HelloConnection);
      assert.equal(isClosed, !passes);
      const ctx = {
        variable: (name: string) => (name === "tls_ja3" ? JA3 : JA4),
        answer: (status: number) => status,
      };
      assert.equal(handlers.access!(ctx as unknown as Exchange), passes ? undefined : 403);
    });
  }
});

test("the upstream is told, and nothing that the client made up", () => {
  const handlers = handlersOf({ ja3_header: "X-JA3", ja4_header: "X-JA4" });
  assert.equal(handlers.access, undefined);
  assert.equal(handlers.clientHello, undefined);
  const headers = HeaderList.from({ "x-ja3": "mine", "X-JA4": "mine" });
  const variable = (name: string) => (name === "tls_ja4" ? JA4 : undefined);
  void handlers.rewrite!({ request: { headers }, variable } as unknown as Exchange);
  assert.equal(headers.get("x-ja3"), undefined);
  assert.equal(headers.get("x-ja4"), JA4);
});

test("without TLS there is nothing that an allow list has", async () => {
  const ask = async (config: object) => {
    const plugins = { "tls-fingerprint": config };
    const gateway = testGateway({ routes: [{ uri: "/*", plugins, upstream: { nodes: { "a:80": 1 } } }] });
    return (await gateway.request()).status;
  };
  assert.equal(await ask({ allow: [JA4] }), 403);
  assert.equal(await ask({ deny: [JA4] }), 200);
});

test("what is no fingerprint is refused when it is written", () => {
  const type = resourceType("routes")!;
  const fault = (config: object) =>
    validateResource(
      type,
      { uri: "/", plugins: { "tls-fingerprint": config } },
      { plugins: new PluginCatalog(null) },
      "1",
    );
  assert.equal(fault({ allow: [JA4, JA3, "t13d*"] }), null);
  for (const listed of ["*", "t13", JA3.toUpperCase(), `${JA4}0`])
    assert.notEqual(fault({ deny: [listed] }), null);
  assert.notEqual(fault({}), null);
  assert.notEqual(fault({ ja4_header: "X JA4" }), null);
});
