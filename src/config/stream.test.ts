import assert from "node:assert/strict";
import { test } from "node:test";
import { ConfigError } from "./config-error.ts";
import { parseStaticConfig } from "./load.ts";
import { parsePlace } from "./stream.ts";

const PLACES: [place: number | string, expected: [string, number, number] | null][] = [
  [9100, ["0.0.0.0", 9100, 9100]],
  ["9100", ["0.0.0.0", 9100, 9100]],
  ["2000-2002", ["0.0.0.0", 2000, 2002]],
  ["127.0.0.1:9100", ["127.0.0.1", 9100, 9100]],
  ["127.0.0.1:2000-2002", ["127.0.0.1", 2000, 2002]],
  ["[::1]:9100", ["::1", 9100, 9100]],
  ["2002-2000", null],
  ["0", null],
  ["65536", null],
  ["host:9100", null],
  ["300.0.0.1:9100", null],
  ["", null],
];

for (const [place, expected] of PLACES) {
  test(`the place ${JSON.stringify(place)} is ${JSON.stringify(expected)}`, () => {
    const range = parsePlace(place);
    assert.deepEqual(range === null ? null : [range.address, range.first, range.last], expected);
  });
}

function listenersOf(text: string) {
  return parseStaticConfig("c.yaml", text, {}).config.listeners.filter((each) =>
    each.purpose.startsWith("stream"),
  );
}

test("every port of a range is a listener, with what is said for it and else for all", () => {
  const listeners = listenersOf(`
apisix:
  proxy_mode: http&stream
  proxy_protocol: { enable_tcp_pp: true }
  stream_proxy:
    tcp:
      - 9100-9101
      - { addr: "127.0.0.1:9102", tls: true, proxy_protocol: false, proxy_protocol_to_upstream: true }
`);
  assert.deepEqual(
    listeners.map(({ address, port, proxyProtocol, stream }) => [address, port, proxyProtocol, stream]),
    [
      ["0.0.0.0", 9100, true, { tls: false, proxyProtocolToUpstream: false }],
      ["0.0.0.0", 9101, true, { tls: false, proxyProtocolToUpstream: false }],
      ["127.0.0.1", 9102, false, { tls: true, proxyProtocolToUpstream: true }],
    ],
  );
});

test("proxy_mode says what there is: requests, connections, or both", () => {
  const purposes = (mode: string): string[] => {
    const text = `apisix: { proxy_mode: ${mode}, stream_proxy: { tcp: [9100] } }`;
    return parseStaticConfig("c.yaml", text, {})
      .config.listeners.map(({ purpose }) => purpose)
      .filter((purpose) => purpose === "http" || purpose === "stream-tcp");
  };
  assert.deepEqual(purposes("http"), ["http"]);
  assert.deepEqual(purposes("stream"), ["stream-tcp"]);
  assert.deepEqual(purposes("http&stream"), ["http", "stream-tcp"]);
});

test("stream ports that nothing will listen on are named in a warning", () => {
  const { warnings } = parseStaticConfig("c.yaml", "apisix: { stream_proxy: { tcp: [9100] } }", {});
  assert.match(warnings.join("\n"), /stream_proxy is not used: apisix\.proxy_mode is http/);
});

const REFUSED: [text: string, message: RegExp][] = [
  ["tcp: [9080]", /given 0\.0\.0\.0:9080 for stream-tcp, expected a port that is free/],
  ["tcp: [9100, 9000-9200]", /expected a port that is free/],
  ['tcp: ["x:1"]', /tcp\[0\]: given "x:1", expected a port, a range/],
  ["tcp: [{ addr: 0-1 }]", /tcp\[0\]\.addr: given "0-1", expected a port, a range/],
  ["tcp: [10000-20000]", /expected at most 4096 stream ports together/],
  ["tcp: [{ port: 9100 }]", /unknown key "port"/],
];

for (const [text, message] of REFUSED) {
  test(`refused: ${text}`, () => {
    const file = `apisix: { proxy_mode: http&stream, stream_proxy: { ${text} } }`;
    assert.throws(
      () => parseStaticConfig("c.yaml", file, {}),
      (error) => error instanceof ConfigError && message.test(error.message),
    );
  });
}
