import assert from "node:assert/strict";
import { mock, test } from "node:test";
import { checkPlugins } from "../../model/plugin-check.ts";
import {
  testGateway,
  type ForwardedRequest,
  type TestGateway,
  type TestGatewayOptions,
} from "../../testing/index.ts";
import { PluginCatalog } from "../catalog.ts";
import proxyMirror from "./index.ts";

interface Setting {
  gateway: TestGateway;
  /** What came to the mirror, in order; waits for the next one. */
  nextCopy(): Promise<ForwardedRequest>;
  copies: ForwardedRequest[];
}

function mirrored(config: object, options: TestGatewayOptions = {}): Setting {
  const copies: ForwardedRequest[] = [];
  let waiting: ((request: ForwardedRequest) => void) | null = null;
  let taken = 0;
  const gateway = testGateway({
    routes: [
      {
        uri: "/*",
        plugins: { "proxy-mirror": { host: "http://mirror:8080", ...config } },
        upstream: { nodes: { "a:80": 1 } },
      },
    ],
    upstream: (request) => {
      if (request.node === "mirror:8080") {
        copies.push(request);
        waiting?.(request);
        waiting = null;
        return { status: 500, body: "nobody reads this" };
      }
      return { body: "main" };
    },
    ...options,
  });
  const nextCopy = (): Promise<ForwardedRequest> => {
    const copy = copies[taken++];
    if (copy !== undefined) return Promise.resolve(copy);
    return new Promise((resolve) => (waiting = resolve));
  };
  return { gateway, nextCopy, copies };
}

test("the mirror gets method, target, headers, Host and body; the client gets the upstream's answer", async () => {
  const { gateway, nextCopy } = mirrored({});
  const answer = await gateway.request({
    method: "POST",
    target: "/x%20y?q=1",
    host: "h",
    headers: { "X-A": "1" },
    body: "content",
  });
  assert.equal(answer.text, "main");
  const copy = await nextCopy();
  assert.equal(copy.method, "POST");
  assert.equal(copy.target, "/x%20y?q=1");
  assert.equal(copy.headers.get("x-a"), "1");
  assert.equal(copy.headers.get("host"), "h");
  assert.equal(copy.body.toString(), "content");
});

for (const [config, target, expected] of [
  [{ path: "/m" }, "/a/b?c=1", "/m?c=1"],
  [{ path: "/m" }, "/a", "/m"],
  [{ path: "/m", path_concat_mode: "prefix" }, "/a?c=1", "/m/a?c=1"],
  [{ path: "/ö" }, "/a", "/%C3%B6"],
] as const) {
  test(`${JSON.stringify(config)} makes ${expected} of ${target}`, async () => {
    const { gateway, nextCopy } = mirrored(config);
    await gateway.request({ target });
    assert.equal((await nextCopy()).target, expected);
  });
}

test("a sample is taken", async () => {
  const random = mock.method(Math, "random", () => 0.3);
  try {
    const { gateway, nextCopy, copies } = mirrored({ sample_ratio: 0.3 });
    await gateway.request({ target: "/1" });
    random.mock.mockImplementation(() => 0.29);
    await gateway.request({ target: "/2" });
    assert.equal((await nextCopy()).target, "/2");
    assert.equal(copies.length, 1);
  } finally {
    random.mock.restore();
  }
});

test("a mirror that never answers holds nothing up", async () => {
  const { gateway } = mirrored(
    {},
    { upstream: ({ node }) => (node === "a:80" ? { body: "main" } : new Promise(() => {})) },
  );
  for (let i = 0; i < 1100; i++) assert.equal((await gateway.request()).text, "main");
});

for (const [config, reason] of [
  [{}, 'property "host" is required'],
  [{ host: "127.0.0.1:1999" }, "failed to match pattern"],
  [{ host: "http://a/" }, "failed to match pattern"],
  [{ host: "http://a:70000" }, "expected a port from 1 to 65535"],
  [{ host: "grpcs://a:0" }, "expected a port from 1 to 65535"],
  [{ host: "http://a", path: "a" }, "failed to match pattern"],
  [{ host: "http://a", path: "/a?b=1" }, "failed to match pattern"],
  [{ host: "http://a", sample_ratio: 0 }, "expected 0 to be at least"],
  [{ host: "http://a", sample_ratio: 2 }, "expected 2 to be at most 1"],
  [{ host: "http://a", path_concat_mode: "x" }, "matches none of the enum values"],
] as const) {
  test(`refused at write time: ${JSON.stringify(config)}`, () => {
    const error = checkPlugins({ "proxy-mirror": config }, "config", new PluginCatalog(null));
    assert.ok(error?.message.includes(reason), error?.message);
  });
}

test("the host is named for the resolver", () => {
  const names = (host: string) => proxyMirror.hostNames!({ host } as never);
  assert.deepEqual(names("http://Mirror.example:80"), ["mirror.example"]);
  assert.deepEqual(names("https://[::1]:80"), ["::1"]);
  assert.deepEqual(names("https://[::1]"), ["::1"]);
  assert.deepEqual(names("grpcs://Calls.example"), ["calls.example"]);
});
