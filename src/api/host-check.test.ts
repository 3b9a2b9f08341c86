import assert from "node:assert/strict";
import { test } from "node:test";
import { HostCheck } from "./host-check.ts";

const check = new HostCheck(["metrics.Example.com", "*.svc.local"], "Machine-1");

const allowed: [host: string | undefined, why: string][] = [
  [undefined, "no Host: no browser"],
  ["127.0.0.1:9090", "an address"],
  ["10.1.2.3", "an address without port"],
  ["[::1]:9090", "an IPv6 address"],
  ["localhost:9090", "localhost"],
  ["LOCALHOST.", "localhost, spelled otherwise"],
  ["a.localhost", "a name below localhost"],
  ["machine-1:9091", "the machine's name"],
  ["metrics.example.com:9091", "a name of the operator"],
  ["a.b.svc.local", "a name below the operator's pattern"],
];
for (const [host, why] of allowed) {
  test(`passes: ${why}`, () => assert.equal(check.refusalOf(host), null));
}

const refused = [
  "rebound.example.org:9090",
  "127.0.0.1.example.org",
  "localhost.example.org",
  "svc.local",
  "xsvc.local",
  "example.com",
  "",
  "[rebound.example.org]",
  "[",
  ":9090",
];
for (const host of refused) {
  test(`is refused, with what to do: ${JSON.stringify(host)}`, () => {
    assert.match(check.refusalOf(host) ?? "", /^the Host .* is not known here: .* cardea\.private_hosts$/);
  });
}

test("a star lets every name pass", () => {
  assert.equal(new HostCheck(["*"]).refusalOf("rebound.example.org"), null);
});
