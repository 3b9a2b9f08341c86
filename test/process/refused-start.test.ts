import assert from "node:assert/strict";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { test } from "node:test";
import { ask } from "./load.ts";
import { StartedNode, temporaryFolder, testConfig } from "./started-node.ts";
import { freePort } from "../ports/free-port.ts";

/** EX_CONFIG of sysexits: the operator's mistake. */
const EXIT_FATAL = 78;

for (const purpose of ["http", "admin"] as const) {
  test(`a second node on the same ${purpose} port is refused, and the error names the port`, async (t) => {
    const first = await StartedNode.serving(t);
    const taken = first.portOf(purpose);
    const config = testConfig(({ listeners }) => {
      listeners.find((listener) => listener.purpose === purpose)!.port = taken;
    });
    const second = new StartedNode(t, { config });
    assert.equal(await refused(second), EXIT_FATAL);
    assert.match(second.errors, new RegExp(`127\\.0\\.0\\.1 port ${taken} \\(${purpose}\\).*another`));
    assert.equal((await ask(first.port)).marker, "first");
  });
}

test("of nodes that start on one port at the same moment one serves and the others are refused", async (t) => {
  const port = await freePort();
  const config = testConfig(({ listeners }) => {
    listeners.find((listener) => listener.purpose === "http")!.port = port;
  });
  const nodes = Array.from({ length: 3 }, () => new StartedNode(t, { config }));
  const ends = nodes.map((node) =>
    node.logs("the node serves").then(
      () => "serves",
      async () => String((await node.ended()).code),
    ),
  );
  const outcomes = await Promise.all(ends);
  assert.deepEqual(outcomes.sort(), ["78", "78", "serves"]);
});

test(
  "a node that has taken a port's name, but not bound it yet, keeps another from starting on the port",
  { skip: process.platform !== "linux" },
  async (t) => {
    const port = await freePort();
    const first = createServer().listen(`\0cardea 127.0.0.1 ${port}`);
    await once(first, "listening");
    t.after(() => first.close());
    const config = testConfig(({ listeners }) => {
      listeners.find((listener) => listener.purpose === "http")!.port = port;
    });
    const second = new StartedNode(t, { config });
    assert.equal(await refused(second), EXIT_FATAL);
    assert.match(second.errors, new RegExp(`127\\.0\\.0\\.1 port ${port} \\(http\\).*another`));
  },
);

/** Exit code of a node that must not come to serve. */
async function refused(node: StartedNode): Promise<number | null> {
  await assert.rejects(node.logs("the node serves"));
  return (await node.ended()).code;
}

test("a second node on the same data folder is refused, and the error names folder and process", async (t) => {
  const first = await StartedNode.serving(t);
  const second = new StartedNode(t, { folder: first.folder });
  assert.equal(await refused(second), EXIT_FATAL);
  assert.match(
    second.errors,
    new RegExp(`the data folder ${first.folder} is in use .*process ${first.nodePid}`),
  );
  assert.equal((await ask(first.port)).marker, "first");
});

test("a fatal error of a thread ends the node with its text, without restarts", async (t) => {
  const config = testConfig(({ metrics }) => {
    metrics.prefix = "fatal";
  });
  const node = new StartedNode(t, { config });
  assert.equal(await refused(node), EXIT_FATAL);
  assert.match(node.errors, /the store cannot be read/);
});

test("an unknown option is refused with the usage exit code", async (t) => {
  const node = new StartedNode(t, { command: [process.execPath, "bin/cardea", "start", "--prot", "80"] });
  assert.equal(await refused(node), 2);
  assert.match(node.errors, /--prot/);
});

test("a data folder that cannot be made is refused at once, with the option's name", async (t) => {
  const file = join(temporaryFolder(t), "file");
  writeFileSync(file, "");
  const places = process.platform === "linux" ? [file, join(file, "below"), "/proc/none"] : [file];
  for (const place of places) {
    const node = new StartedNode(t, { command: [process.execPath, "bin/cardea", "start", "--data", place] });
    assert.equal(await refused(node), EXIT_FATAL);
    assert.match(node.errors, new RegExp(`^--data: given ${place}, expected a folder`, "m"));
  }
});
