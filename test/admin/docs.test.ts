/** The examples of the pages about the Admin and Control API are answered as they say. */

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { after, before, test } from "node:test";
import { promisify } from "node:util";
import { KEY, TestNode } from "./node.ts";

const run = promisify(execFile);
let node: TestNode;

before(async () => {
  node = await new TestNode().start();
});
after(() => node.dispose());

for (const page of ["admin-api.md", "control-api.md"]) {
  test(`the examples of docs/${page}`, async () => {
    const text = readFileSync(new URL(`../../docs/${page}`, import.meta.url), "utf8");
    const examples = [...text.matchAll(/^(curl .*?) {3}# (\d{3})$/gm)];
    assert.equal(examples.length, [...text.matchAll(/^curl /gm)].length, "each has its status");
    for (const [, command, status] of examples) {
      const here = command
        .replace("http://127.0.0.1:9180", node.url)
        .replace("http://127.0.0.1:9090", node.controlUrl)
        .replace("curl", "curl --silent --output /dev/null --write-out '%{http_code}'");
      const { stdout } = await run("sh", ["-c", here], { env: { ...process.env, KEY } });
      assert.equal(stdout, status, command);
    }
  });
}
